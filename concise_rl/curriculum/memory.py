"""Keep what a run learns on its way, so that a resumed run knows it, too."""

import statistics
from collections.abc import Mapping
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_callback import ExportableState


class Remembered(TrainerCallback, ExportableState):
    """What a run learns on its way and checkpoints keep: a callback only so that transformers' Trainer saves it.

    With `restore_callback_states_from_checkpoint` a resumed run puts a new instance in its place: take it from the
    trainer's callbacks (see `find_callback`) rather than keep a reference.
    """

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Have it saved in a run that is resumed from a checkpoint which did not know it: the Trainer would fail."""
        assert isinstance(state.stateful_callbacks, dict), "the Trainer has made them one by now"
        state.stateful_callbacks.setdefault(type(self).__name__, self.state())


class OversampleFactor(Remembered):
    """How many times the wanted groups to sample, from how many could be trained on in the last steps.

    DOT's predictive dynamic sampling (https://hf.co/papers/2601.03969): one over the mean share of usable groups,
    times one plus the standard deviation (population) of these shares for safety, within bounds. One round of
    sampling a step then mostly suffices.
    """

    def __init__(
        self, window: int = 20, initial: float = 1.5, min_factor: float = 1.2, max_factor: float = 5.0
    ) -> None:
        """
        Args:
            window: steps that are remembered.
            initial: the factor before the first step.
            min_factor, max_factor: bounds; the upper one holds where no group was usable. The published default is
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
        """Share of the sampled groups that were usable, oldest first."""

    def update(self, sampled: int, passed: int) -> None:
        """Note a step: of so many groups sampled, so many were usable."""
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


class CurriculumMemory(Remembered):
    """What a curriculum has learnt, as numbers by name. Its options are not here: the recipe's hold, resumed or not."""

    def __init__(self, values: Mapping[str, float] | None = None) -> None:
        self.values = dict(values or {})

    def state(self) -> dict[str, Any]:
        """What a checkpoint holds."""
        return {"args": {"values": self.values}, "attributes": {}}
