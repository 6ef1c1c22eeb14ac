"""Let a trainer compute what rows of a group share once."""

from typing import Any

from concise_rl.shared_prefix.attention import use_tree_attention


def share_prefixes(trainer: Any) -> None:
    """Prepare the models of a `GRPOTrainer` (TRL 1.16).

    Raises:
        ValueError: for models and settings under which the forward over a tree would mean something else.
    """
    if trainer._is_vlm or trainer.aux_loss_enabled:
        raise ValueError(
            "shared_prefix cannot be used here: it takes neither images nor the load-balancing loss of a mixture of "
            "experts. Set router_aux_loss_coef: 0, or shared_prefix: false."
        )
    parallelism = trainer.accelerator.parallelism_config
    if parallelism is not None and (parallelism.cp_enabled or parallelism.sp_enabled):
        raise ValueError("shared_prefix cannot be used with context or sequence parallelism, which cut the tree.")
    for model in (trainer.model, trainer.ref_model):
        if model is not None:
            use_tree_attention(trainer.accelerator.unwrap_model(model))
