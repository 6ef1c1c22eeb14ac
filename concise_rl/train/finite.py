"""What is not finite reaches neither the weights nor a checkpoint. Read at transformers 5.17, DeepSpeed 0.19."""

import math
from typing import Any

import torch
from torch import Tensor, nn

MAX_SKIPPED = 20
"""Steps in a row that the loss scaler of float16 may skip. It begins at 2^16 and halves with each of them."""


class FiniteSteps:
    """For a trainer: looks at the gradient of every step, logged or not, before the optimizer takes it."""

    skipped = 0
    """Steps in a row that were not made."""

    def _get_grad_norm(self: Any, model: nn.Module, grad_norm: Any = None) -> Any:
        # transformers calls it before each optimizer step. DeepSpeed has come to its own by then, but skips it for such
        # a gradient, and says that the norm is infinite. It says None, and looks at nothing, where it does not shard.
        norm = super()._get_grad_norm(model, grad_norm)
        self.skipped = 0 if norm is None or math.isfinite(norm) else self.skipped + 1
        if self.skipped:
            self._allow_skip(float(norm))
        return norm

    def compute_loss(self: Any, model: nn.Module, inputs: Any, *args: Any, **kwargs: Any) -> Tensor:
        """Compute the loss. One that is not finite stops the run before it reaches the weights."""
        loss = super().compute_loss(model, inputs, *args, **kwargs)
        if not torch.isfinite(loss):
            raise RuntimeError(
                f"The loss is {loss.item()} at step {self.state.global_step}; the weights are untouched."
            )
        return loss

    def _allow_skip(self: Any, norm: float) -> None:
        """
        Raises:
            RuntimeError: unless it is float16's scaler, which skips the step and tries a smaller scale.
        """
        said = f"The gradient norm is {norm} at step {self.state.global_step}"
        if self.accelerator.mixed_precision != "fp16":
            raise RuntimeError(f"{said}; this step leaves the weights untouched.")
        if self.skipped >= MAX_SKIPPED:
            raise RuntimeError(
                f"{said}: float16's loss scaler has skipped {self.skipped} steps in a row, so nothing is learnt. "
                "Train in bf16, or lower the learning rate."
            )


def weights_are_finite(trainer: Any) -> bool:
    """Whether each rank's weights are all finite. Every rank has to ask."""
    parts = [_of_this_rank(param.detach()) for param in trainer.model.parameters()]
    broken = any(not torch.isfinite(part).all() for part in parts if part.is_floating_point())
    mine = torch.tensor([float(broken)], device=trainer.accelerator.device)
    return not trainer.accelerator.gather(mine).any()


def _of_this_rank(param: Any) -> Tensor:
    """What this rank holds of a parameter, under ZeRO-3 and FSDP a part."""
    part = getattr(param, "ds_tensor", param)
    return part.to_local() if hasattr(part, "to_local") else part


def demand_finite_weights(trainer: Any) -> None:
    """
    Raises:
        RuntimeError: when they are not, on every rank. Nothing has been written then.
    """
    if not weights_are_finite(trainer):
        raise RuntimeError(
            f"Weights are not finite after step {trainer.state.global_step}, and are not saved. Lower the learning "
            "rate; the run goes on from its last complete checkpoint."
        )
