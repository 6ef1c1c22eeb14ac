"""DOT: cut the outliers in length of groups that are right throughout."""

import math
import statistics
from collections.abc import Sequence
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from concise_rl.methods import Parts, RolloutBatch, RunContext, SequenceReward


def cut_length(lengths: Sequence[int], std_multiplier: float) -> int:
    """Tokens at which outliers are cut: mean plus so many sample standard deviations, rounded down."""
    # Not in torch: `statistics` computes exactly and rounds once, and rounding is what moves a floor by one.
    deviation = statistics.stdev(lengths) if len(lengths) > 1 else 0.0
    return int(statistics.mean(lengths) + std_multiplier * deviation)


def margin(length: int, min_margin: float) -> int:
    """Tokens beyond the cut that make an outlier: as given, or below 1 that share of its length, at least 16."""
    return max(int(min_margin * length), 16) if min_margin < 1 else int(min_margin)


def kept_tokens(
    correct: Sequence[float], lengths: Sequence[int], std_multiplier: float, min_margin: float, success_threshold: float
) -> list[int]:
    """Tokens of each member of a group that are left by the cut.

    Args:
        correct: 1, 0, or NaN: such members count neither in the share nor in the statistics, and are not cut.
        lengths: tokens; those of wrong members count as well, where the threshold admits a group that has any.
        std_multiplier, min_margin: see `cut_length`, `margin`.
        success_threshold: least share of members that are right.
    """
    judged = [not math.isnan(verdict) for verdict in correct]
    if not any(judged) or correct.count(1) / sum(judged) < success_threshold:
        return list(lengths)
    cut = cut_length([n for n, is_judged in zip(lengths, judged, strict=True) if is_judged], std_multiplier)
    return [
        cut if is_judged and n - cut >= margin(n, min_margin) else n
        for n, is_judged in zip(lengths, judged, strict=True)
    ]


class Dot(SequenceReward):
    """Anti-Length Shift: Dynamic Outlier Truncation (Wu et al.): what is far longer than it had to be is cut.

    In a group that is right throughout, T = floor(mean + `std_multiplier` * sample standard deviation) of the lengths;
    a rollout with `min_margin` tokens beyond T keeps its first T. What is kept is judged again: mostly the answer is
    gone and the rollout wrong, so that a group without a signal tells the model to end earlier. Advantages are GRPO's
    on those verdicts. All other groups are plain GRPO; a group that is all wrong, or all right and uncut, gets 0.

    No member of a group of G lies more than (G - 1) / sqrt(G) deviations above its mean: with the published 3 nothing
    is ever cut in groups under 11 (published: 32). Members without a verdict are neither cut nor counted.

    The published recipe also has KL-Cov, a KL penalty on the tokens of highest covariance, which is not here, and
    predictive dynamic sampling, which is `curriculum: dynamic_sampling`.
    """

    paper: ClassVar[str] = "https://hf.co/papers/2601.03969"
    needs: ClassVar[str] = "num_generations of at least 11 for 3 deviations, and loss_type dapo"

    std_multiplier: float = Field(3.0, ge=0)
    """Standard deviations above the mean at which rollouts are cut."""
    min_margin: float = Field(32, gt=0)
    """Tokens beyond the cut from which a rollout is cut; below 1: that share of its own length, 16 tokens at least."""
    success_threshold: float = Field(1.0, gt=0, le=1)
    """Least share of a group that is right for its outliers to be cut. Below 1 wrong members count and are cut too."""

    def parts(self, run: RunContext) -> Parts:
        """Judge again what the cut leaves."""
        return Parts(rejudge=True)

    def kept_length(self, batch: RolloutBatch) -> Tensor:
        """(B,) lengths after the cut, by the verdicts on the whole rollouts."""
        groups = zip(batch.grouped(batch.earned).tolist(), batch.grouped(batch.length).tolist(), strict=True)
        kept = [kept_tokens(*group, self.std_multiplier, self.min_margin, self.success_threshold) for group in groups]
        return torch.tensor(kept, dtype=batch.length.dtype, device=batch.length.device).flatten()

    def rewards(self, batch: RolloutBatch) -> Tensor:
        """(B,) 1 where what was kept is right, and the rollout had ended by itself."""
        return torch.where(batch.finished, batch.kept_correct, torch.zeros_like(batch.correct))

    def metrics(self, batch: RolloutBatch) -> dict[str, float]:
        """Share of the tokens, and of the rollouts, that is cut."""
        kept_B = self.kept_length(batch)
        return {
            "cut_tokens": 1 - kept_B.sum().item() / max(batch.length.sum().item(), 1),
            "cut_rollouts": (kept_B < batch.length).double().mean().item(),
        }
