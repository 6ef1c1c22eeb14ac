"""A run in a few words and numbers, the same for the page and for the terminal."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from concise_rl.output.lines import in_words
from concise_rl.train.watch.panels import derive
from concise_rl.train.watch.run import GOING, Run

NUMBERS: tuple[tuple[str, str, Literal["percent", "number"]], ...] = (
    ("right", "correct/mean", "percent"),
    ("tokens", "length/mean", "number"),
    ("thinking tokens", "length/think", "number"),
    ("redundant tokens", "redundant/tokens", "number"),
    ("method's reward", "objective/reward", "number"),
    ("loss", "loss", "number"),
)
"""The numbers by which a run is known: what it is called, the metric, and how it is written."""
WINDOW = 0.1
"""Share of the steps whose mean is a run's beginning or end."""


@dataclass(frozen=True)
class Change:
    """Say how a number moved.

    Attributes:
        label: what it is called.
        before, after: means over the first and the last tenth of the steps so far.
        values: all of them.
        format: how they are written.
    """

    label: str
    before: float
    after: float
    values: Sequence[float | None]
    format: Literal["percent", "number"]

    @property
    def words(self) -> tuple[str, str]:
        """Write it before and after, as people write them."""
        return write(self.before, self.format), write(self.after, self.format)


def changes(run: Run) -> list[Change]:
    """Say how the numbers moved by which the run is known, of those that it logs."""
    table = derive(run)
    found = [(label, table[key], format) for label, key, format in NUMBERS if key in table]
    return [Change(label, *ends(values), values, format) for label, values, format in found]


def ends(values: Sequence[float | None]) -> tuple[float, float]:
    """Take means over the first and the last tenth of the values that are known, of which there is one at least."""
    known = [value for value in values if value is not None]
    size = max(1, round(len(known) * WINDOW))
    first, last = known[:size], known[-size:]
    return sum(first) / size, sum(last) / size


def write(value: float, format: str) -> str:
    """Write a number as people write it."""
    if format == "percent":
        return f"{100 * value:.1f} %"
    return f"{value:,.1f}" if abs(value) >= 10 else f"{value:.3g}"


def progress(run: Run, word: str) -> str:
    """Say how far the run is: `step 24 of 80, about 12 min left at 13.2 s a step`.

    Args:
        run: read.
        word: of its status. What is left of a run that has ended nobody knows.
    """
    whole = f" of {run.max_steps}" if run.max_steps else ""
    done = f"step {run.step}{whole}"
    left, seconds = run.seconds_left, run.seconds_a_step
    if seconds is None or word not in GOING:
        return done
    at = f"{seconds:.3g} s a step"
    return f"{done}, {at}" if left is None else f"{done}, about {in_words(left)} left at {at}"


def warning_text(event: Mapping[str, Any]) -> str:
    """Return a warning without its step, which stands beside it."""
    return event["text"].removeprefix(f"Step {event['step']}: ")


def title(run: Run) -> str:
    """Say what is trained by what: `grpo_lambda on tiny:base`."""
    offline = {"sft": "supervised tuning", "dpo": "preference optimization"}
    method = offline.get(str(run.settings.get("stage"))) or run.settings.get("objective")
    model = run.settings.get("model_name_or_path") or run.start.get("model") or ""
    method = method or ("supervised tuning" if run.is_supervised else "grpo")
    return f"{method} on {short_name(model)}" if model else str(method)


def short_name(model: str) -> str:
    """Return the last parts of a model's name: of a folder not where it lies."""
    return model if model.count("/") <= 1 else model.rstrip("/").rpartition("/")[2]


def clock(seconds: float) -> str:
    """Write Unix seconds as a date and time of day, UTC."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")
