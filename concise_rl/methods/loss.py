"""The loss of each token, for a method that brings its own.

Axis letters in tensor names: B completions of a micro-batch, T completion tokens.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor


@dataclass(frozen=True)
class LossInputs:
    """What the loss of a token may depend on.

    Attributes:
        log_probs_BT: under the policy that is trained, with a gradient.
        old_log_probs_BT: under the policy at the start of the step, without one.
        advantages_BT: (B, 1) where each rollout has one advantage, (B, T) where each token has its own.
        mask_BT: 1 for tokens that stay in the loss, 0 for others and padding.
        epsilon_low, epsilon_high: how far the ratio of the two may fall below and rise above 1.
        facts: facts of the rollouts that the loss asks for, (B,) or (B, width), by name.
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
        """How much more probable each token has become since the start of the step."""
        return torch.exp(self.log_probs_BT - self.old_log_probs_BT)


class TokenLoss(Protocol):
    """A loss of each token. Masks and means are applied to what it returns."""

    @property
    def facts(self) -> tuple[str, ...]:
        """Names of the facts that it reads."""
        ...

    def __call__(self, inputs: LossInputs) -> Tensor:
        """(B, T), finite on padding, too."""
        ...


@dataclass(frozen=True)
class Clipped:
    """GRPO's clipped surrogate (https://hf.co/papers/2402.03300, eq. 3), as TRL has it."""

    facts: tuple[str, ...] = ()

    def __call__(self, inputs: LossInputs) -> Tensor:
        """(B, T) the larger of the loss and the loss at the clipped ratio."""
        ratio_BT = inputs.ratio_BT
        clipped_BT = torch.clamp(ratio_BT, 1 - inputs.epsilon_low, 1 + inputs.epsilon_high)
        return -torch.min(ratio_BT * inputs.advantages_BT, clipped_BT * inputs.advantages_BT)
