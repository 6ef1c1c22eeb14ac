"""The loss of a method, where it is none of TRL's."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor


@dataclass(frozen=True)
class LossInputs:
    """What a loss by token may read of a micro-batch.

    Attributes:
        log_probs_BT: (B, T) of the completion tokens under the policy that is trained, with a gradient.
        old_log_probs_BT: (B, T) under the policy at the start of the step, without one.
        advantages_BT: (B, 1) where the method returns (B,), else (B, T). Both broadcast against the others.
        mask_BT: (B, T) 1 for tokens that stay in the loss, 0 for others and padding.
        epsilon_low, epsilon_high: how far the ratio of the two may fall below and rise above 1.
        facts: of these rollouts, (B,) or (B, width) by name, those that the loss asks for. An evaluation
            during training, which samples plainly, has none that the plan knows.
    """

    log_probs_BT: Tensor
    old_log_probs_BT: Tensor
    advantages_BT: Tensor
    mask_BT: Tensor
    epsilon_low: float
    epsilon_high: float
    facts: Mapping[str, Tensor] = field(default_factory=dict)

    @cached_property
    def ratio_BT(self) -> Tensor:
        """(B, T) how much more probable each token has become since the start of the step."""
        return torch.exp(self.log_probs_BT - self.old_log_probs_BT)


class TokenLoss(Protocol):
    """A loss of each token. Masks, the KL term and the means of `loss_type` are applied to what it returns."""

    @property
    def facts(self) -> tuple[str, ...]:
        """Names of the facts that it reads."""
        ...

    def __call__(self, inputs: LossInputs) -> Tensor:
        """Return (B, T) losses, finite on padding, too."""
        ...


@dataclass(frozen=True)
class Clipped:
    """GRPO's clipped surrogate (https://hf.co/papers/2402.03300, equation 3), as TRL has it."""

    facts: tuple[str, ...] = ()

    def __call__(self, inputs: LossInputs) -> Tensor:
        """Return (B, T) the larger of the loss and the loss at the clipped ratio."""
        ratio_BT = inputs.ratio_BT
        clipped_BT = torch.clamp(ratio_BT, 1 - inputs.epsilon_low, 1 + inputs.epsilon_high)
        return -torch.min(ratio_BT * inputs.advantages_BT, clipped_BT * inputs.advantages_BT)
