"""DDCA: correctness and length normalised apart, the length among right rollouts alone."""

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from concise_rl.methods import Objective, RolloutBatch, group_advantages

Estimator = Literal["grpo", "rloo"]


def centred(values_PG: Tensor, leave_one_out: bool) -> Tensor:
    """(P, G) values less the mean of their row, or of the others in it. NaN counts nowhere and gets 0, as does a value
    alone in its row."""
    centred_PG = group_advantages(values_PG, "none")
    if not leave_one_out:
        return centred_PG
    count_P1 = (~values_PG.isnan()).sum(dim=1, keepdim=True)
    return centred_PG * count_P1 / (count_P1 - 1).clamp(min=1)


def population_std(values_PG: Tensor) -> Tensor:
    """(P, 1) population standard deviation over what is not NaN; 0 where there is nothing else."""
    deviation_PG = values_PG - values_PG.nanmean(dim=1, keepdim=True)
    return deviation_PG.square().nanmean(dim=1, keepdim=True).sqrt().nan_to_num(nan=0.0)


def accuracy_advantages(correct_PG: Tensor, estimator: Estimator, eps: float) -> Tensor:
    """(P, G) GRPO's advantages on correctness, by the population's standard deviation, or RLOO's."""
    if estimator == "rloo":
        return centred(correct_PG, leave_one_out=True)
    return centred(correct_PG, leave_one_out=False) / (population_std(correct_PG).clamp(min=eps) + eps)


def length_advantages(correct_PG: Tensor, length_PG: Tensor, estimator: Estimator, dynamic: bool, eps: float) -> Tensor:
    """(P, G) float64; how much shorter the right members are than each other. They sum to 0 over a group.

    Args:
        correct_PG: (P, G) verdicts; wrong members, and NaN, get 0 and count nowhere.
        length_PG: (P, G) tokens.
        estimator: `rloo`: compared with the mean of the other right members.
        dynamic: whether they are scaled by the share of the judged members that is right.
        eps: least standard deviation, and added to it.
    """
    right_PG = correct_PG == 1
    # float64: eps is far below what float32 resolves at lengths of thousands.
    lengths_PG = length_PG.double().masked_fill(~right_PG, torch.nan)
    z_PG = centred(lengths_PG, leave_one_out=False) / (population_std(lengths_PG).clamp(min=eps) + eps)
    score_PG = torch.sigmoid(z_PG.clamp(-20, 20)).masked_fill(~right_PG, torch.nan)
    share_P1 = correct_PG.double().nanmean(dim=1, keepdim=True).nan_to_num(nan=0.0) if dynamic else 1.0
    return -centred(score_PG, estimator == "rloo") * share_P1


class Ddca(Objective):
    """Think Dense, Not Long (DDCA, Peng et al.): dynamic decoupled conditional advantage.

    `A = A_correct + beta * A_length`. A_correct: correctness minus its group's mean, over its standard deviation.
    A_length: 0 for wrong rollouts; for right ones `-(s - mean of s) * n / G`, s the sigmoid of the length standardised
    over the n right rollouts of the group, the mean over these as well. So wrong rollouts do not move the length that
    right ones are compared with, no normalisation blows `beta` up, and a group that is seldom right is hardly
    shortened. `estimator: rloo`: means over the others, no standard deviation of correctness. `dynamic: false` is DCA,
    without the factor n / G.

    A group that is all wrong, or all right and of one length, gets exactly 0; a rollout without a verdict gets 0 and
    counts nowhere. Standard deviations are the population's, as in the published code: with `beta: 0` advantages are
    those of `grpo` times sqrt(G / (G - 1)), but for eps, and with rloo those over no standard deviation times
    G / (G - 1). A right rollout that did not end counts as wrong.

    Published settings: beta 0.2, groups of 8, temperature 0.6, top-p 0.95, cap 16384, 2,470 problems of AIME and AMC.
    """

    paper: ClassVar[str] = "https://hf.co/papers/2602.02099"

    beta: float = Field(0.2, ge=0, le=1)
    """Weight of the length."""
    estimator: Estimator = "grpo"
    """What a rollout is compared with: its group's mean, over the standard deviation, or the mean of the others."""
    dynamic: bool = True
    """Whether the length counts by the share of the group that is right."""
    eps: float = Field(1e-8, gt=0)
    """Least standard deviation, and added to it."""

    def advantages(self, batch: RolloutBatch) -> Tensor:
        """(B,) advantages for correctness and for length, added."""
        earned_PG, length_PG = batch.grouped(batch.earned), batch.grouped(batch.length)
        of_length_PG = length_advantages(earned_PG, length_PG, self.estimator, self.dynamic, self.eps)
        of_accuracy_PG = accuracy_advantages(earned_PG, self.estimator, self.eps)
        return (of_accuracy_PG + self.beta * of_length_PG.to(of_accuracy_PG.dtype)).flatten()
