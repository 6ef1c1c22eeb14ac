"""The weights of a reference model that FSDP2 shards. Read at TRL 1.16, accelerate 1.15 and transformers 5.17."""

from typing import Any

from accelerate.utils.fsdp_utils import fsdp2_load_full_state_dict
from trl.trainer.utils import create_model_from_path, get_config_model_id


def spread_reference(trainer: Any) -> None:
    """Give every rank its part of the reference model's weights, where only the first one has read them.

    With `fsdp_cpu_ram_efficient_loading` transformers leaves zeros on the others (modeling_utils.py:4718). accelerate
    hands the trained model's weights on (fsdp_utils.py:893). TRL shards the reference model as each rank has it
    (models/utils.py:338), so that the divergence would be one from a model of which half is zeros.
    """
    plugin = getattr(trainer.accelerator.state, "fsdp_plugin", None)
    if trainer.ref_model is None or plugin is None or plugin.fsdp_version != 2 or not plugin.cpu_ram_efficient_loading:
        return
    whole: dict[str, Any] = {}
    if trainer.accelerator.is_main_process:
        given = {"dtype": trainer.ref_model.dtype} | (trainer.args.model_init_kwargs or {}) | {"device_map": None}
        whole = create_model_from_path(get_config_model_id(trainer.model.config), **given).state_dict()
    fsdp2_load_full_state_dict(trainer.accelerator, trainer.ref_model, whole)
    trainer.ref_model.tie_weights()  # as accelerate does behind it
