"""Random draws that belong to a row alone, whatever is generated beside it."""

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import (
    LogitsProcessor,
    LogitsProcessorList,
    MinPLogitsWarper,
    SuppressTokensLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from concise_rl.rollout.engine import Sampling

BLOCK_NUMBERS = 2**20
"""Random numbers that a row draws at once: many tokens of a small vocabulary, a few of a large one."""


class OwnNoise(LogitsProcessor):
    """Makes the greedy choice a sample of the distribution: the largest of logits plus Gumbel noise.

    transformers samples all rows from one generator, so that a row's draws depend on its place and on the rows that
    have left. Here every row has a generator of its own.
    """

    def __init__(self, seeds: Sequence[int], device: torch.device) -> None:
        """
        Args:
            seeds: one for each row.
            device: of the logits.
        """
        self.device = device
        self.generators = [torch.Generator(device).manual_seed(seed) for seed in seeds]
        self.noise_TBV: Tensor | None = None
        self.used = 0

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """(B, V) scores of the next token, perturbed."""
        if self.noise_TBV is None or self.used == len(self.noise_TBV):
            self.noise_TBV, self.used = self._draw(scores), 0
        self.used += 1
        return scores - self.noise_TBV[self.used - 1]

    def _draw(self, scores_BV: Tensor) -> Tensor:
        """(T, B, V) negative Gumbel noise for the next T tokens. T depends on V alone: a row draws its numbers in the
        same order whatever it is generated beside."""
        vocabulary = scores_BV.size(1)
        block = max(1, min(64, BLOCK_NUMBERS // vocabulary))
        rows = [scores_BV.new_empty(block, vocabulary).exponential_(generator=g) for g in self.generators]
        return torch.stack(rows, dim=1).log()

    def select(self, rows: Sequence[int]) -> None:
        """Go on with these rows."""
        self.generators = [self.generators[row] for row in rows]
        if self.noise_TBV is not None:
            self.noise_TBV = self.noise_TBV[:, list(rows)]


def processors(sampling: Sampling, noise: OwnNoise) -> LogitsProcessorList:
    """What turns logits into scores whose largest is the token to take: bans alone for a greedy choice."""
    steps: list[LogitsProcessor] = []
    if sampling.banned_ids:
        steps.append(SuppressTokensLogitsProcessor(sampling.banned_ids, str(noise.device)))
    if sampling.temperature == 0:
        return LogitsProcessorList(steps)
    if sampling.temperature != 1:
        steps.append(TemperatureLogitsWarper(sampling.temperature))
    if sampling.top_k:
        steps.append(TopKLogitsWarper(sampling.top_k))
    if sampling.top_p < 1:
        steps.append(TopPLogitsWarper(sampling.top_p))
    if sampling.min_p:
        steps.append(MinPLogitsWarper(sampling.min_p))
    return LogitsProcessorList([*steps, noise])
