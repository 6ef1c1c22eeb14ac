"""GRPO-lambda: a length penalty only for the groups that are right often enough to afford it."""

import math
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from concise_rl.methods import Credit, RolloutBatch, SequenceReward
from reward.length_penalty import penalised_rewards


def top_fraction_gate(pass_rate_P: Tensor, fraction: float) -> Tensor:
    """(P,) the `ceil(fraction * P)` groups of highest pass rate. Ties go to the earlier group; pass rate 0 never
    enters."""
    # 0.07 * 100 is a little over 7: without the small number, ceil would admit an eighth group.
    admitted = math.ceil(fraction * len(pass_rate_P) - 1e-9)
    gate_P = torch.zeros_like(pass_rate_P, dtype=torch.bool)
    gate_P[pass_rate_P.argsort(descending=True, stable=True)[:admitted]] = True
    return gate_P & (pass_rate_P > 0)


def threshold_gate(pass_rate_P: Tensor, threshold: float) -> Tensor:
    """(P,) the groups whose pass rate reaches the threshold; pass rate 0 never enters."""
    return (pass_rate_P >= threshold) & (pass_rate_P > 0)


class GrpoLambda(SequenceReward):
    """Stable Reinforcement Learning for Efficient Reasoning (Dai, Liu & Si): a length penalty gated by pass rate.

    Groups inside the gate: `c * (1 - alpha * sigmoid(z))` as in `LengthPenalty`; the others plain 0/1, so that a group
    that still fails learns to be right first. Gate by batch-wise rank (the paper's mechanism) or by a threshold (how
    its abstract reads: a low correctness ratio switches to 0/1). Wrong and truncated rollouts earn 0 in either;
    all-wrong groups get exactly 0. The paper leaves open which standard deviation z takes: population here, as in
    Arora & Zanette.
    """

    paper: ClassVar[str] = "https://hf.co/papers/2505.18086"

    alpha: float = Field(0.6, ge=0, le=1)
    """Weight of the length penalty inside the gate."""
    gate: Literal["top_fraction", "threshold"] = "top_fraction"
    """How groups are chosen: the best share of the batch, or all that reach a pass rate."""
    top_fraction: float = Field(0.2, ge=0, le=1)
    """The paper's lambda: share of the batch's groups inside the gate, for `gate: top_fraction`."""
    threshold: float = Field(0.5, ge=0, le=1)
    """Least pass rate inside the gate, for `gate: threshold`."""

    def gated(self, batch: RolloutBatch) -> Tensor:
        """(P,) the groups whose lengths count. A group that could not be judged at all is outside."""
        pass_rate_P = batch.grouped(batch.earned).nanmean(dim=1).nan_to_num(nan=0.0)
        if self.gate == "threshold":
            return threshold_gate(pass_rate_P, self.threshold)
        return top_fraction_gate(pass_rate_P, self.top_fraction)

    @property
    def credit(self) -> Credit:
        """The top fraction is one of the batch's groups."""
        return Credit(scope="batch" if self.gate == "top_fraction" else "group")

    def rewards(self, batch: RolloutBatch) -> Tensor:
        """(B,) correctness, penalised by length inside the gate."""
        earned_PG, length_PG = batch.grouped(batch.earned), batch.grouped(batch.length)
        penalised_PG = penalised_rewards(earned_PG, length_PG, self.alpha)
        return torch.where(self.gated(batch)[:, None], penalised_PG, earned_PG).flatten()

    def metrics(self, batch: RolloutBatch) -> dict[str, float]:
        """Share of groups inside the gate."""
        return {"gated": self.gated(batch).float().mean().item()}
