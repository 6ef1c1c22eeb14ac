"""L1: the prompt says how long to think, and the reward how well that was heeded."""

from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor

from concise_rl.methods import Credit, Fact, Parts, RolloutBatch, RunContext, SequenceReward, add_to_prompt


def exact_rewards(correct_B: Tensor, length_B: Tensor, target_B: Tensor, alpha: float) -> Tensor:
    """Return (B,) float64 `c - alpha * |n - L|`; NaN where c is."""
    return correct_B - alpha * (target_B.double() - length_B).abs()


def max_rewards(correct_B: Tensor, length_B: Tensor, target_B: Tensor, alpha: float, delta: float) -> Tensor:
    """Return (B,) float64 `c * clip(alpha * (n - L) + delta, 0, 1)`; NaN where c is."""
    return correct_B * (alpha * (target_B.double() - length_B) + delta).clamp(0, 1)


class ExactTarget(BaseModel):
    """Ask for thinking of n tokens, n drawn anew for each group. With `low` equal to `high` n is fixed.

    Facts:
        target: n, the tokens that the prompt asks for.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)
    facts: ClassVar[tuple[Fact, ...]] = (Fact("target"),)

    low: int = Field(100, ge=1)
    """The least n in tokens."""
    high: int = Field(4000, ge=1)
    """The greatest n in tokens. Below `max_completion_length`, or it asks for what is cut."""

    @model_validator(mode="after")
    def _in_order(self) -> "ExactTarget":
        if self.low > self.high:
            raise ValueError(f"low is {self.low} and high {self.high}: give them in order")
        return self

    def draw(self, rng: np.random.Generator) -> int:
        """Draw n uniformly, both ends included."""
        return int(rng.integers(self.low, self.high, endpoint=True))

    def write(self, row: dict[str, Any], rng: np.random.Generator) -> tuple[dict[str, Any], dict[str, float]]:
        """Return the row with the request behind its prompt, and n as the fact `target`."""
        target = self.draw(rng)
        return add_to_prompt(row, f" Think for {target} tokens."), {"target": target}


class MaxTarget(ExactTarget):
    """Ask for thinking of at most n tokens, n drawn anew for each group.

    Facts:
        target: n, the tokens that the prompt asks for.
        exact: 1 where the prompt asks for n tokens exactly, 0 where for at most n.
    """

    facts: ClassVar[tuple[Fact, ...]] = (Fact("target"), Fact("exact"))

    exact_share: float = Field(0.0, ge=0, le=1)
    """Share of the groups that are asked for n tokens exactly. L1-Max was trained with a half of each."""

    def write(self, row: dict[str, Any], rng: np.random.Generator) -> tuple[dict[str, Any], dict[str, float]]:
        """Return the row with the request, and the facts `target`, n, and `exact`, 1 where n is no bound."""
        target, exact = self.draw(rng), bool(rng.random() < self.exact_share)
        request = f" Think for {target} tokens." if exact else f" Think for maximum {target} tokens."
        return add_to_prompt(row, request), {"target": target, "exact": float(exact)}


def heed(batch: RolloutBatch) -> dict[str, float]:
    """Report how targets are heeded: their mean, what they are missed by in tokens, the share of rollouts above.

    `correlation` of target and length is left out where one of them does not vary.
    """
    target_B, length_B = batch.fact("target").double(), batch.length.double()
    missed_B = length_B - target_B
    metrics = {"target": target_B.mean(), "missed_by": missed_B.abs().mean(), "above": (missed_B > 0).double().mean()}
    if target_B.max() > target_B.min() and length_B.max() > length_B.min():
        metrics["correlation"] = torch.corrcoef(torch.stack([target_B, length_B]))[0, 1]
    return {name: value.item() for name, value in metrics.items()}


class L1Exact(ExactTarget, SequenceReward):
    """L1-Exact (Aggarwal and Welleck): think for as many tokens as the prompt says.

    Each group is asked to `Think for n tokens.`, n uniform from `low` to `high`, another one whenever a problem comes
    back. Reward (equation 1): `c - alpha * |n - L|`, L all tokens of the rollout. As published, a wrong rollout pays
    for missing the target as a right one does. Far off the target a right rollout can earn less than a wrong one on it.
    A group alike in verdict and length gets 0.

    Published settings: n from 100 to 4000, alpha 0.0003; DeepScaleR-1.5B-Preview and its data, groups of 16. 128
    prompts a step in two minibatches, cap 4096, temperature 0.6, learning rate 1e-6, KL 0.001, 700 steps.
    """

    paper: ClassVar[str] = "https://hf.co/papers/2503.04697"
    needs: ClassVar[str] = "`low` and `high` to suit max_completion_length"

    alpha: float = Field(0.0003, ge=0)
    """What a token off the target costs."""

    @property
    def credit(self) -> Credit:
        """Declare that wrong rollouts pay for missing the target."""
        return Credit(wrong=self.alpha > 0)

    def parts(self, run: RunContext) -> Parts:
        """Ask for a length in the prompts."""
        return Parts(prompts=self)

    def rewards(self, batch: RolloutBatch) -> Tensor:
        """Return (B,) float64 correctness less the cost of missing the target; NaN where it could not be graded."""
        return exact_rewards(batch.earned, batch.length, batch.fact("target"), self.alpha)

    def metrics(self, batch: RolloutBatch) -> dict[str, float]:
        """Report how targets are heeded."""
        return heed(batch)


class L1Max(MaxTarget, SequenceReward):
    """L1-Max (Aggarwal and Welleck): think for as many tokens as are needed, up to a bound that the prompt says.

    Each group is asked to `Think for maximum n tokens.`, n uniform from `low` to `high`. Reward (equation 2):
    `c * clip(alpha * (n - L) + delta, 0, 1)`, L all tokens of the rollout. So a right rollout earns delta at the bound,
    more below and less above; a wrong one earns 0. The `exact_share` of the groups is asked and paid as in L1-Exact.
    A group alike in verdict and length gets 0.

    Published settings: from step 700 of L1-Exact on, with half of the groups asked for an exact length. Learning rate
    4e-6, cap 8129 in the script, about 120 steps, else as L1-Exact. Equation 2 has alpha 0.0003 and delta 0.5. The
    released code has the same form with other slopes: 0.001 in one version, 0.005 in another. Its sigmoid forms are not
    here: no setting uses them, and one pays for missing the target.
    """

    paper: ClassVar[str] = "https://hf.co/papers/2503.04697"
    needs: ClassVar[str] = "`low` and `high` to suit max_completion_length"

    alpha: float = Field(0.0003, ge=0)
    """What a token below the bound earns, and one above it costs."""
    delta: float = Field(0.5, ge=0, le=1)
    """What a right rollout earns at the bound."""

    @property
    def credit(self) -> Credit:
        """Declare that wrong rollouts pay for missing a target where one is exact."""
        return Credit(wrong=self.alpha > 0 and self.exact_share > 0)

    def parts(self, run: RunContext) -> Parts:
        """Ask for a length in the prompts."""
        return Parts(prompts=self)

    def rewards(self, batch: RolloutBatch) -> Tensor:
        """Return (B,) float64 correctness by the bound, or by the target; NaN where it could not be graded."""
        columns = (batch.earned, batch.length, batch.fact("target"), self.alpha)
        return torch.where(batch.fact("exact") == 1, exact_rewards(*columns), max_rewards(*columns, self.delta))

    def metrics(self, batch: RolloutBatch) -> dict[str, float]:
        """Report how targets are heeded."""
        return heed(batch)
