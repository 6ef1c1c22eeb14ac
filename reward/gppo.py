"""GPPO: tokens that the clipped loss leaves without a gradient keep one of bounded size."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from concise_rl.methods import LossInputs, Parts, RolloutBatch, RunContext, SequenceReward


@dataclass(frozen=True)
class GradientPreserving:
    """The loss `-A w rho / stop(rho)` of each token, where `rho` is the ratio to the old policy and `A` the advantage.

    The weight `w` is `rho`, but `1 - epsilon_low` where `rho` is below that and `A < 0`, and `1 + epsilon_high` where
    `rho` is above that and `A > 0`. So the value is that of the clipped loss, but where that has no gradient this one
    has `-A w` times the gradient of the token's log-probability.

    Attributes:
        ratio_cap: with `A < 0`, tokens whose ratio exceeds it have the value `-A ratio_cap` and no gradient.
        low_scale, high_scale: factors on `w` below and above the range.
        facts: none.
    """

    ratio_cap: float
    low_scale: float = 1.0
    high_scale: float = 1.0
    facts: tuple[str, ...] = ()

    def weights(self, inputs: LossInputs) -> Tensor:
        """(B, T) `w`, without a gradient."""
        ratio_BT, advantages_BT = inputs.ratio_BT.detach(), inputs.advantages_BT
        low, high = 1 - inputs.epsilon_low, 1 + inputs.epsilon_high
        weight_BT = ratio_BT.masked_fill((ratio_BT < low) & (advantages_BT < 0), self.low_scale * low)
        return weight_BT.masked_fill((ratio_BT > high) & (advantages_BT > 0), self.high_scale * high)

    def __call__(self, inputs: LossInputs) -> Tensor:
        """(B, T) the loss."""
        weight_BT, log_probs_BT = self.weights(inputs), inputs.log_probs_BT
        is_capped_BT = (weight_BT > self.ratio_cap) & (inputs.advantages_BT < 0)
        one_BT = torch.exp(log_probs_BT - log_probs_BT.detach())  # rho / stop(rho), which cannot overflow
        kept_BT = weight_BT.masked_fill(is_capped_BT, self.ratio_cap) * one_BT.masked_fill(is_capped_BT, 1.0)
        return -inputs.advantages_BT * kept_BT


class Gppo(SequenceReward):
    """Klear-Reasoner (Su et al.): GRPO on correctness with Gradient-Preserving clipping Policy Optimization.

    Reward 1 for a right and finished rollout, else 0; GRPO's advantages; the loss is `GradientPreserving`. It differs
    from GRPO only where several steps are made from a batch of rollouts (`num_iterations`, `steps_per_generation`):
    before the first of them, each ratio is 1. A group without a signal gets 0.

    Published beside it: `epsilon_high: 0.28`, `loss_type: dapo`, no divergence from a reference policy, and
    `curriculum: dynamic_sampling`. Not here: the cross-entropy on right rollouts that is added with a weight of 0.1.
    """

    paper: ClassVar[str] = "https://hf.co/papers/2508.07629"

    ratio_cap: float = Field(10.0, gt=1)
    """Ratio above which a token of negative advantage has no gradient. The released script has 10."""
    low_scale: float = Field(1.0, ge=0)
    """Factor on the gradient of tokens below the range. The paper uses 1; 0 is GRPO's."""
    high_scale: float = Field(1.0, ge=0)
    """Factor on the gradient of tokens above the range. The paper uses 1; 0 is GRPO's."""

    def parts(self, run: RunContext) -> Parts:
        """Return plain sampling with the loss of its own."""
        return Parts(loss=GradientPreserving(self.ratio_cap, self.low_scale, self.high_scale))

    def rewards(self, batch: RolloutBatch) -> Tensor:
        """(B,) 1 for a right and finished rollout, else 0."""
        return batch.earned
