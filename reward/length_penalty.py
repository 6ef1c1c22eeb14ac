"""The sigmoid length penalty on correct rollouts, relative to the group's own correct lengths."""

from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from concise_rl.methods import RolloutBatch, SequenceReward


def penalised_rewards(correct_PG: Tensor, length_PG: Tensor, alpha: float, eps: float = 1e-7) -> Tensor:
    """`c * (1 - alpha * sigmoid(z))`, z the length standardised over the correct members of its group.

    Mean and population standard deviation are taken over correct members in float64: `eps` is far below what float32
    resolves at lengths of thousands. One correct member, or equal lengths: z = 0 and the reward is 1 - alpha/2.

    Args:
        correct_PG: (P, G) 1, 0, or NaN where the verifier could not judge; such members stay NaN and out of statistics.
        length_PG: (P, G) tokens.
        alpha: weight of the penalty, 0 to 1.
        eps: added to the standard deviation.

    Returns:
        (P, G) rewards in the dtype of `correct_PG`; a correct member's lie in [1 - alpha, 1].
    """
    is_correct_PG = correct_PG == 1
    count_P1 = is_correct_PG.sum(dim=1, keepdim=True).clamp(min=1)
    lengths_PG = length_PG.double().masked_fill(~is_correct_PG, 0)
    mean_P1 = lengths_PG.sum(dim=1, keepdim=True) / count_P1
    deviation_PG = (lengths_PG - mean_P1).masked_fill(~is_correct_PG, 0)
    std_P1 = (deviation_PG.square().sum(dim=1, keepdim=True) / count_P1).sqrt()
    penalty_PG = alpha * torch.sigmoid(deviation_PG / (std_P1 + eps))
    return correct_PG * (1 - penalty_PG).to(correct_PG.dtype)


class LengthPenalty(SequenceReward):
    """Training Language Models to Reason Efficiently (Arora & Zanette): a sigmoid length penalty.

    Reward: `c * (1 - alpha * sigmoid((L - mean_c) / std_c))`, mean and standard deviation over the correct and finished
    rollouts of the group. Wrong, truncated: 0, so a wrong rollout never gains by being short, and a group that is all
    wrong gets exactly 0. The paper uses RLOO (no standard deviation: `scale_rewards: none` is that up to the factor
    G / (G - 1)) and lengths without special tokens; here a length counts the EOS, which every finished rollout has.
    """

    paper: ClassVar[str] = "https://hf.co/papers/2502.04463"

    alpha: float = Field(0.1, ge=0, le=1)
    """Weight of the penalty. The paper sweeps 0.05 to 0.4; its released script has 0.1."""

    def rewards(self, batch: RolloutBatch) -> Tensor:
        """(B,) penalised correctness."""
        earned_PG, length_PG = batch.grouped(batch.earned), batch.grouped(batch.length)
        return penalised_rewards(earned_PG, length_PG, self.alpha).flatten()
