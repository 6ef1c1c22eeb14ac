"""Dynamic sampling: groups without a signal are exchanged for freshly drawn ones."""

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from accelerate import Accelerator
from datasets import Dataset

from concise_rl.rollout.collect import Judged, Row
from concise_rl.rollout.engine import derive_seed
from concise_rl.schedule import OversampleFactor

ROUNDS = 4
"""Calls of the engine for one batch. What still lacks a signal then stays in the batch, and teaches nothing."""

Sample = Callable[[list[Row], int], Judged]
"""Rollouts of rows that stand in whole groups; the number is the round."""
Signal = Callable[[Judged], list[bool]]
"""Whether each group has one."""


class DynamicSampling:
    """DAPO's dynamic sampling (https://hf.co/papers/2503.14476) with DOT's prediction of how many groups it takes.

    Each rank fills its own share: the groups it was given, and as many more as the factor says, drawn at random from
    the training set; those with a signal come first. Which ones are drawn depends on the seed, the step and the rank
    alone, so that a resumed run draws the same.
    """

    def __init__(self, dataset: Dataset, num_generations: int, accelerator: Accelerator, seed: int) -> None:
        self.dataset, self.num_generations = dataset, num_generations
        self.accelerator, self.seed = accelerator, seed

    def collect(
        self, rows: Sequence[Row], sample: Sample, has_signal: Signal, factor: OversampleFactor, step: Sequence[int]
    ) -> tuple[Judged, dict[str, float]]:
        """As many groups as `rows` holds, those with a signal first, and what to log.

        Args:
            rows: whole groups.
            sample, has_signal: what groups are made with, and told apart by.
            factor: groups to sample for each that is wanted; learns how it went.
            step: what tells this batch from the others of the run.
        """
        wanted, size = len(rows) // self.num_generations, self.num_generations
        asked = [*rows, *self._draw(math.ceil(wanted * (factor.factor - 1)), (*step, 0))]
        loud, silent, sampled = None, None, 0
        for turn in range(ROUNDS):
            louder, stiller = self._split(sample(asked, turn), has_signal)
            loud, silent = (loud + louder, silent + stiller) if loud and silent else (louder, stiller)
            sampled += len(asked) // size
            missing = max(0, wanted - len(loud.rows) // size)
            if not self._of_all_ranks([missing])[0]:
                break
            asked = self._draw(math.ceil(missing * factor.factor), (*step, turn + 1))
        assert loud is not None and silent is not None, "there was a round"
        passed = len(loud.rows) // size
        sampled, passed, filled = self._of_all_ranks([sampled, passed, min(passed, wanted)])
        factor.update(sampled, passed)
        return (loud + silent).take(range(len(rows))), {
            "dynamic/groups_sampled": float(sampled),
            "dynamic/groups_with_signal": float(passed),
            "dynamic/filled": filled / (wanted * self.accelerator.num_processes),
            "dynamic/factor": factor.factor,
        }

    def _draw(self, num_groups: int, parts: Sequence[int]) -> list[Row]:
        """Rows of as many problems, each repeated for its group."""
        rng = np.random.default_rng(derive_seed(self.seed, self.accelerator.process_index, *parts))
        chosen = rng.choice(len(self.dataset), size=num_groups, replace=num_groups > len(self.dataset))
        return [self.dataset[int(i)] for i in chosen for _ in range(self.num_generations)]

    def _split(self, judged: Judged, has_signal: Signal) -> tuple[Judged, Judged]:
        """The groups with a signal, and the others."""
        # A rank that has all its groups only keeps the others company.
        signals = [s for s in (has_signal(judged) if judged.rows else []) for _ in range(self.num_generations)]
        return (
            judged.take([i for i, signal in enumerate(signals) if signal]),
            judged.take([i for i, signal in enumerate(signals) if not signal]),
        )

    def _of_all_ranks(self, counts: list[int]) -> list[int]:
        """Sums over the ranks."""
        local = torch.tensor([counts], device=self.accelerator.device)
        return self.accelerator.gather(local).sum(dim=0).tolist()
