"""ConciseR: a length reward only for groups that are right throughout."""

from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from concise_rl.methods import RolloutBatch, SequenceReward


def all_right(correct_PG: Tensor) -> Tensor:
    """(P,) bool; the groups whose judged members are all right, and that have any."""
    return ((correct_PG == 1) | correct_PG.isnan()).all(dim=1) & (correct_PG == 1).any(dim=1)


class Conciser(SequenceReward):
    """Walk Before You Run (ConciseR, Song & Zheng): be right first, then be short.

    Reward: correctness; in a group that is right throughout also `coef * (1 - L / L_max)`, L_max the cap. Advantages
    are GRPO's. The paper has two stages: GRPO with dynamic sampling, which drops groups without a signal, then this,
    for fewer steps. `from_step` makes one run of both: before it the reward is correctness alone. The choice of groups
    that belongs to each stage is `curriculum: two_stage`, whose `switch_step` is then the same.

    A group that is all wrong, or all right and of one length, gets 0; a member without a verdict gets 0 and counts
    nowhere. The length reward is alone in its group, so that with `scale_rewards: group` any `coef` above 0 comes to
    the same; with `none` or `batch` it is the weight against correctness.

    No code is published, nor `coef`: 1 is ours. DECS's authors re-implement it with 2e-5, and pay it to every correct
    rollout, without the condition on the group.
    """

    paper: ClassVar[str] = "https://hf.co/papers/2505.21178"

    coef: float = Field(1.0, ge=0)
    """Weight of the length in groups that are right throughout."""
    from_step: int = Field(0, ge=0)
    """Optimizer steps before lengths count. 0: the second stage alone."""

    def shortened(self, batch: RolloutBatch) -> Tensor:
        """(P,) bool; the groups whose lengths count at this step."""
        return all_right(batch.grouped(batch.earned)) & (batch.step >= self.from_step)

    def rewards(self, batch: RolloutBatch) -> Tensor:
        """(B,) correctness, and what is left of the cap where the group is right throughout."""
        earned_PG = batch.grouped(batch.earned)
        left_PG = batch.grouped(1 - batch.length.double() / batch.max_length)
        bonus_PG = (self.coef * left_PG).to(earned_PG.dtype)
        return torch.where(self.shortened(batch)[:, None], earned_PG + bonus_PG, earned_PG).flatten()

    def metrics(self, batch: RolloutBatch) -> dict[str, float]:
        """Share of the groups whose lengths count."""
        return {"shortened": self.shortened(batch).double().mean().item()}
