"""HAPO: a rollout is long or short by the shortest right one that the run has seen to the same problem."""

import math
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from concise_rl.methods import Credit, Memory, Parts, ProblemKey, RolloutBatch, RunContext, SequenceReward


def length_terms(correct_B: Tensor, length_B: Tensor, shortest_B: Tensor, floor: float = -0.7) -> Tensor:
    """Score lengths by the history of their problems: `f = cos(pi/2 * min(L/h, 2))`.

    Args:
        correct_B: (B,) 1, 0, or NaN without a verdict.
        length_B: (B,) tokens.
        shortest_B: (B,) h, tokens of the shortest right rollout of earlier visits; NaN where there is none.
        floor: the least that a right rollout gets.

    Returns:
        (B,) float64; at least `floor` for right rollouts, at most 0 for all others, 0 without a history.
    """
    cosine_B = torch.cos(math.pi / 2 * (length_B / shortest_B.double()).clamp(max=2))
    terms_B = torch.where(correct_B == 1, cosine_B.clamp(min=floor), cosine_B.clamp(max=0))
    return terms_B.masked_fill(shortest_B.isnan(), 0.0)


class Hapo(SequenceReward):
    """HAPO (Huang, Zhang and Cardie): beat the shortest right rollout that the run has seen to the same problem.

    The history h of a problem is the length of its shortest right rollout so far. Reward: `c + weight * f` with
    `f = cos(pi/2 * min(L/h, 2))`. f is at least -0.7 for a right rollout and at most 0 for a wrong one. So a right
    rollout gains below h and loses above it. A wrong rollout up to h loses nothing, which leaves room to try short
    ones. Without a history f is 0. h takes in a visit behind its rewards. A group alike in verdict and length gets 0.

    A right rollout always beats a wrong one: it earns at least `1 - 0.7 * weight`. A rollout that is cut by the cap
    counts as wrong and leaves no trace in h. A rollout without a verdict gets 0.

    Problems are told apart by prompt and answer, so that the history outlives a shuffled or resumed run. It can only
    help a problem that returns: train for several epochs.

    Published settings: 2000 problems of DeepScaleR, 5 epochs, groups of 2, cap 32768, temperature 0.7, weight 1, and
    what TRL had as defaults then: learning rate 1e-6, KL 0.04. Not here: a mean in place of the shortest, a piecewise
    linear f, a penalty for repetition. The published code counts no special tokens; here a length has its EOS.
    """

    paper: ClassVar[str] = "https://hf.co/papers/2505.11225"
    needs: ClassVar[str] = "several epochs: num_rows well below the prompts that the run samples"

    weight: float = Field(1.0, ge=0, le=1)
    """Weight of the length term. Above 1 a right rollout could earn less than a wrong one."""

    @property
    def credit(self) -> Credit:
        """Declare that credit depends on the run so far, and that wrong rollouts pay for length."""
        return Credit(scope="run", wrong=self.weight > 0)

    def parts(self, run: RunContext) -> Parts:
        """Tell problems apart."""
        return Parts(stages=(ProblemKey(),))

    def shortest(self, batch: RolloutBatch) -> Tensor:
        """Return (B,) float64 h: tokens of the shortest right rollout to each problem so far, NaN where none was."""
        known = batch.memory["shortest"]
        lengths = [known.get(problem, math.nan) for problem in batch.fact("problem").tolist()]
        return torch.tensor(lengths, dtype=torch.float64)

    def rewards(self, batch: RolloutBatch) -> Tensor:
        """Return (B,) float64 correctness and length; NaN where it could not be graded."""
        return batch.earned + self.weight * length_terms(batch.earned, batch.length, self.shortest(batch))

    def initial(self) -> Memory:
        """Know nothing of any problem."""
        return {"shortest": {}}

    def learn(self, batch: RolloutBatch) -> Memory:
        """Return the shortest right rollout of each problem, this step's among them."""
        shortest = dict(batch.memory["shortest"])
        right_B = batch.earned == 1
        for problem, length in zip(
            batch.fact("problem")[right_B].tolist(), batch.length[right_B].tolist(), strict=True
        ):
            shortest[problem] = min(length, shortest.get(problem, length))
        return {"shortest": shortest}

    def metrics(self, batch: RolloutBatch) -> dict[str, float]:
        """Report the share of rollouts whose problem has a history, and of its right ones the mean of L/h."""
        shortest_B = self.shortest(batch)
        known_B = ~shortest_B.isnan()
        by_history_B = (batch.length / shortest_B)[known_B & (batch.earned == 1)]
        metrics = {"known": known_B.double().mean().item()}
        return metrics | ({"length_by_history": by_history_B.mean().item()} if len(by_history_B) else {})
