"""GFPO: sample more rollouts than are trained on, and train on the most concise of each group."""

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from concise_rl.methods import Parts, RolloutBatch, RunContext, SequenceReward, StopReason


def smallest(key_PG: Tensor, eligible_PG: Tensor, count: int) -> Tensor:
    """(P, G) which members have the `count` smallest keys of their group. Ties go to the earlier member.

    Args:
        key_PG: (P, G) numbers without NaN.
        eligible_PG: (P, G) bool; the others come last and are never among them.
        count: at most this many of a group.
    """
    order_PG = key_PG.double().masked_fill(~eligible_PG, torch.inf).argsort(dim=1, stable=True)
    return torch.zeros_like(eligible_PG).scatter(1, order_PG[:, :count], True) & eligible_PG


def inefficiency(reward_PG: Tensor, length_PG: Tensor) -> Tensor:
    """(P, G) reward by token, negated: smallest for the most efficient. A reward that is NaN comes after all others."""
    return (-reward_PG.double() / length_PG.clamp(min=1)).nan_to_num(nan=1.0)


class Gfpo(SequenceReward):
    """Sample More to Think Less: Group Filtered Policy Optimization (Shrivastava et al.): learn from the shortest.

    Of each group the `keep` shortest rollouts, or those of the most reward by token, are kept, right or wrong. Mean and
    standard deviation (unbiased) of the 0/1 reward are taken over them; the others get 0 and leave the loss with its
    normaliser. A group whose kept members are alike gets 0. Ties go to the earlier member of the group.

    With `metric: length` an engine may give up rollouts that are sure not to be kept: a rollout that did not end
    counts as longer than every one that did, so that nothing depends on whether it was given up. For the same reason a
    rollout that ended without a verdict keeps its place among the shortest, out of the statistics and with advantage 0;
    with `metric: efficiency` it comes last.

    Published without code. Ours: the unbiased standard deviation, ties, and that dropped rollouts do not count in the
    normaliser. Not here: the variant that chooses `keep` by the difficulty of the prompt (4, 6 or 8).
    """

    paper: ClassVar[str] = "https://hf.co/papers/2508.09726"
    needs: ClassVar[str] = "num_generations above `keep` (published: 16 or 24) and loss_type dapo"

    keep: int = Field(8, ge=2)
    """Rollouts of each group to train on, at most num_generations, which is GRPO. One alone has nothing to be compared
    with. The paper: at most 8."""
    metric: Literal["length", "efficiency"] = "length"
    """What they are chosen by: fewest tokens, or most reward by token."""

    def parts(self, run: RunContext) -> Parts:
        """Plain sampling.

        Raises:
            ValueError: when a group has fewer rollouts than are to be kept of it.
        """
        if self.keep > run.num_generations:
            raise ValueError(
                f"gfpo keeps {self.keep} rollouts of groups of {run.num_generations}: set keep to "
                f"{run.num_generations} or less, or num_generations higher."
            )
        return super().parts(run)

    def kept(self, batch: RolloutBatch) -> Tensor:
        """(B,) bool; the rollouts to train on."""
        ended_B = (batch.stop_reason != StopReason.ABORTED) & (batch.stop_reason != StopReason.ERROR)
        earned_PG, length_PG, ended_PG = (batch.grouped(t) for t in (batch.earned, batch.length, ended_B))
        key_PG = length_PG if self.metric == "length" else inefficiency(earned_PG, length_PG)
        return smallest(key_PG, ended_PG, self.keep).flatten()

    def rewards(self, batch: RolloutBatch) -> Tensor:
        """(B,) correctness of the kept rollouts; NaN for the others, which keeps them out of the statistics."""
        return batch.earned.masked_fill(~self.kept(batch), torch.nan)

    def kept_length(self, batch: RolloutBatch) -> Tensor:
        """(B,) whole rollouts, or nothing of them."""
        return batch.length * self.kept(batch)

    def keep_shortest(self, num_generations: int) -> int | None:
        """How many can be kept, where that is known by length alone."""
        return self.keep if self.metric == "length" and self.keep < num_generations else None

    def metrics(self, batch: RolloutBatch) -> dict[str, float]:
        """Of the kept rollouts: mean length, and the share that is right among those judged."""
        kept_B = self.kept(batch)
        return {
            "kept_length": batch.length[kept_B].double().mean().item(),
            "kept_correct": batch.earned[kept_B].nanmean().item(),
        }
