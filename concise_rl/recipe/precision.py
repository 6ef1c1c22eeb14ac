"""In which precision weights can be trained: an optimizer needs them in float32 somewhere.

AdamW moves a weight by about the learning rate. In bfloat16 two neighbouring numbers near 0.02 lie 1e-4 apart, so that
a step of 1e-6 rounds to nothing. DeepSpeed trains a float32 copy of 16-bit weights. FSDP turns them into float32 when
mixed precision is on (accelerate: utils/fsdp_utils.py). A single process and DDP do neither, and of float16 weights
torch's gradient scaler refuses to unscale the gradients.
"""

import dataclasses
import os
from typing import Any, Literal

import torch
from peft import PeftModel
from transformers import PretrainedConfig, TrainingArguments

Strategy = Literal["single", "ddp", "deepspeed", "fsdp"]
"""How a run lies on its processes."""


def keeps_float32(strategy: Strategy, mixed_precision: bool) -> bool:
    """Whether an optimizer has float32 weights, whatever precision the model was loaded in.

    Args:
        strategy: how the run lies on its processes.
        mixed_precision: whether `bf16` or `fp16` is on.
    """
    return strategy == "deepspeed" or (strategy == "fsdp" and mixed_precision)


def refuse_half_weights(dtype: torch.dtype, strategy: Strategy, *, mixed_precision: bool, adapters: bool) -> None:
    """Refuse to train weights in 16 bit where nothing keeps them in float32.

    Args:
        dtype: what the model is loaded in, see `loaded_dtype`.
        strategy, mixed_precision: see `keeps_float32`.
        adapters: whether only adapters are trained. PEFT makes them in float32.

    Raises:
        ValueError: with what to set.
    """
    if adapters or dtype.itemsize > 2 or keeps_float32(strategy, mixed_precision):
        return
    name = str(dtype).removeprefix("torch.")
    raise ValueError(
        f"dtype {name}: all weights would be trained in {name}, where small updates vanish in rounding. Set dtype: "
        "float32 (bf16: true still computes in bfloat16), launch with DeepSpeed ZeRO or with FSDP and mixed precision, "
        "or train adapters (use_peft: true)."
    )


def loaded_dtype(model_init_kwargs: dict[str, Any], config: PretrainedConfig | None) -> torch.dtype | None:
    """The precision that TRL loads a model in: as `dtype` says, float32 without it, and with `auto` that of the file.

    Args:
        model_init_kwargs: the configuration's.
        config: the model's; None where it is not known.

    Returns:
        None where `auto` would have to look into a file.
    """
    dtype = model_init_kwargs.get("dtype", "float32")
    if dtype in (None, "auto"):
        dtype = config.dtype if config is not None else None
    return getattr(torch, dtype) if isinstance(dtype, str) else dtype


def strategy_of(args: TrainingArguments) -> Strategy:
    """How the run of a configuration lies on its processes, as it was launched."""
    if args.deepspeed_plugin is not None:
        return "deepspeed"
    if args.fsdp or os.environ.get("ACCELERATE_USE_FSDP") == "true":  # where accelerate looks
        return "fsdp"
    return "ddp" if args.world_size > 1 else "single"


def demand_shards(trainer: Any) -> None:
    """
    Raises:
        ValueError: where FSDP was asked for and accelerate (1.15: state.py:982) passes over that, as it does on CPUs.
    """
    if strategy_of(trainer.args) == "fsdp" and not trainer.is_fsdp_enabled:
        raise ValueError(
            "FSDP shards models on GPUs alone: here accelerate would train all of the model in each process, without a "
            "word. On CPUs launch with torchrun, or with launch/accelerate/cpu_zero3.yaml."
        )


def check_dtype(args: Any, *, adapters: bool) -> None:
    """Look at the `dtype` of a configuration, before anything is loaded. `auto` is left to `check_weights`.

    Args:
        args: the configuration of the training.
        adapters: whether only adapters are trained.

    Raises:
        ValueError: see `refuse_half_weights`.
    """
    dtype = loaded_dtype(args.model_init_kwargs or {}, None)
    if dtype is not None:
        refuse_half_weights(dtype, strategy_of(args), mixed_precision=args.bf16 or args.fp16, adapters=adapters)


def check_weights(trainer: Any) -> None:
    """Look at the weights that a trainer would train, however its model was loaded. Adapters may be in 16 bit, as those
    of a quantised model are; copies of whole modules beside them may not.

    Raises:
        ValueError: see `refuse_half_weights`.
    """
    args, model = trainer.args, trainer.model
    part = ".modules_to_save." if isinstance(model, PeftModel) else ""
    for dtype in {
        weights.dtype for name, weights in model.named_parameters() if weights.requires_grad and part in name
    }:
        refuse_half_weights(dtype, strategy_of(args), mixed_precision=args.bf16 or args.fp16, adapters=False)


def sum_in_float32(accelerator: Any) -> None:
    """Let FSDP2 add up gradients in float32, in shards. launch/deepspeed/ tells DeepSpeed the same.

    accelerate (1.15: utils/dataclasses.py, set_mixed_precision) has FSDP2 reduce gradients in bf16. Between two
    micro-steps transformers has it keep them whole on each GPU (torch: _fsdp_param.py, unsharded_accumulated_grad).
    """
    plugin = getattr(accelerator.state, "fsdp_plugin", None)
    if plugin is None or plugin.fsdp_version != 2 or plugin.mixed_precision_policy is None:
        return
    policy = plugin.mixed_precision_policy
    plugin.mixed_precision_policy = dataclasses.replace(policy, reduce_dtype=torch.float32)
    accelerator.gradient_state.plugin_kwargs["sync_each_batch"] = True
