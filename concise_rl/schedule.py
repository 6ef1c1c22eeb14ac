"""Which groups a step is trained on: how many prompts to draw so that enough of them carry a signal."""

import statistics
from typing import Any

from transformers import TrainerCallback
from transformers.trainer_callback import ExportableState


class OversampleFactor(TrainerCallback, ExportableState):
    """How many times the wanted groups to sample, from how many had a signal in the last steps.

    DOT's predictive dynamic sampling (https://hf.co/papers/2601.03969): one over the mean share of groups with a
    signal, times one plus the standard deviation (population) of these shares for safety, within bounds. One round of
    sampling a step then mostly suffices.

    A callback only so that transformers' Trainer keeps its state in checkpoints. With
    `restore_callback_states_from_checkpoint` a resumed run puts a new instance in its place: take it from the trainer's
    callbacks rather than keep a reference.
    """

    def __init__(
        self, window: int = 20, initial: float = 1.5, min_factor: float = 1.2, max_factor: float = 5.0
    ) -> None:
        """
        Args:
            window: steps that are remembered.
            initial: the factor before the first step.
            min_factor, max_factor: bounds; the upper one holds where no group had a signal. The published default is
                3, the published script has 5.

        Raises:
            ValueError: when nothing is remembered, or the bounds do not bound anything.
        """
        if window < 1:
            raise ValueError(f"window is at least 1 step, not {window}.")
        if not 0 < min_factor <= max_factor:
            raise ValueError(f"The bounds need 0 < min_factor <= max_factor, not {min_factor} and {max_factor}.")
        self.window, self.initial, self.min_factor, self.max_factor = window, initial, min_factor, max_factor
        self.shares: list[float] = []
        """Share of the sampled groups that had a signal, oldest first."""

    def update(self, sampled: int, passed: int) -> None:
        """Note a step: of so many groups sampled, so many had a signal."""
        assert 0 <= passed <= sampled and sampled > 0, f"{passed} of {sampled} groups"
        self.shares = [*self.shares, passed / sampled][-self.window :]

    @property
    def factor(self) -> float:
        """Groups to sample for each that is wanted."""
        if not self.shares:
            return self.initial
        mean = statistics.fmean(self.shares)
        predicted = (1 + statistics.pstdev(self.shares)) / mean if mean else self.max_factor
        return min(max(predicted, self.min_factor), self.max_factor)

    def state(self) -> dict[str, Any]:
        """What a checkpoint holds: the arguments of a new instance, and what to set on it."""
        names = ("window", "initial", "min_factor", "max_factor")
        return {"args": {name: getattr(self, name) for name in names}, "attributes": {"shares": self.shares}}
