"""A run as its folder tells it: what was logged, what happened, and whether it still goes on."""

import hashlib
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import isfinite
from pathlib import Path
from statistics import median
from typing import Any

import psutil

from concise_rl.files import EVENTS_FILE, MARKER, METRICS_FILE, SETTINGS_FILE, read_lines, read_object
from concise_rl.output.lines import in_words

STARTS = ("started", "resumed")
ENDS = ("finished", "failed")
GOING = ("running", "silent")
"""States of a run that may still make steps."""
RECENT = 10
"""Steps by which the time of the next ones is estimated."""
PATIENCE = 10.0
"""A run is called silent when it has logged nothing for so many times the longest of its recent steps..."""
LEAST_SILENCE = 300.0
"""... and for so many seconds: the first step loads and compiles things."""


def machine() -> str:
    """Name this machine. Not by its host name: the folder of a run may be published."""
    return hashlib.sha256(socket.gethostname().encode()).hexdigest()[:8]


@dataclass(frozen=True)
class Status:
    """Say whether a run goes on.

    Attributes:
        word: `running`, `finished`, `stopped` (before its last step, by its own will), `failed`, `died`, `silent`.
        why: how that is known, as a sentence.
    """

    word: str
    why: str


@dataclass(frozen=True)
class Run:
    """A run's folder, read.

    Attributes:
        folder: where it is.
        steps: what was logged, a mapping of metrics for each step, `step` among them, ascending.
        events: lines of `events.jsonl`; none for runs of versions that did not write it.
        settings: of the recipe, or those that are not at their default.
        complete: whether the marker says that the trained model is whole.
        changed_at: Unix time at which a file that it writes as it goes was last changed.
    """

    folder: Path
    steps: list[dict[str, Any]]
    events: list[dict[str, Any]]
    settings: dict[str, Any]
    complete: bool
    changed_at: float

    @property
    def start(self) -> dict[str, Any]:
        """Return the last start; empty where none is known."""
        return next((event for event in reversed(self.events) if event["event"] in STARTS), {})

    @property
    def step(self) -> int:
        """Return the steps made, as far as they are logged."""
        return max(self.steps[-1]["step"] if self.steps else 0, self.start.get("step", 0))

    @property
    def max_steps(self) -> int | None:
        """Return the steps to make; None where nobody says."""
        told = self.start.get("max_steps", self.settings.get("max_steps", -1))
        return told if told > 0 else None

    @property
    def warnings(self) -> list[dict[str, Any]]:
        """Return the warnings as they came."""
        return [event for event in self.events if event["event"] == "warning"]

    @property
    def resumed_at(self) -> list[int]:
        """Return the steps from which the run went on."""
        return [event["step"] for event in self.events if event["event"] == "resumed"]

    def values(self, key: str) -> list[float | None]:
        """Return a metric at each step; None where it was not logged, or is no finite number."""
        values = [step.get(key) for step in self.steps]
        return [value if isinstance(value, int | float) and isfinite(value) else None for value in values]

    def last(self, key: str) -> float | None:
        """Return the latest value of a metric; None where it was never logged."""
        return next((value for value in reversed(self.values(key)) if value is not None), None)

    @property
    def seconds_a_step(self) -> float | None:
        """Return the median of the recent steps, by the clock where the lines have it; None where nothing is known."""
        seconds = self._recent_seconds()
        return median(seconds) if seconds else None

    def _recent_seconds(self) -> list[float]:
        began = self.start.get("time", 0.0)  # what lies between two processes is no step
        steps = [step for step in self.steps[-RECENT - 1 :] if step.get("unix_time", began) >= began]
        clocks = [(step["step"], step["unix_time"]) for step in steps if "unix_time" in step]
        if len(clocks) < 3:
            return [step["step_time"] for step in steps if isinstance(step.get("step_time"), float)]
        return [(later - earlier) / (b - a) for (a, earlier), (b, later) in pairwise(clocks)]

    @property
    def patience(self) -> float:
        """Return the seconds that it may be silent."""
        return max(PATIENCE * max(self._recent_seconds(), default=0.0), LEAST_SILENCE)

    @property
    def seconds_left(self) -> float | None:
        """Estimate the time to the last step; None where it cannot be estimated."""
        seconds, whole = self.seconds_a_step, self.max_steps
        return None if seconds is None or whole is None else max(whole - self.step, 0) * seconds

    @property
    def is_supervised(self) -> bool:
        """Say whether this is a run of supervised tuning, which has no rollouts."""
        return bool(self.steps) and all("correct/mean" not in step for step in self.steps)


def read_run(folder: Path) -> Run:
    """Read a run's folder, also while the run goes on.

    Raises:
        ValueError: when it is no folder of a run, or a file in it is damaged (see `read_lines`).
    """
    check_is_run(folder)
    events = read_lines(folder / EVENTS_FILE)
    starts = [event for event in events if event["event"] in STARTS]
    settings = folder / SETTINGS_FILE
    return Run(
        folder=folder,
        steps=by_step(read_lines(folder / METRICS_FILE)),
        events=events,
        settings=read_object(settings) if settings.is_file() else dict(starts[-1]["settings"] if starts else {}),
        complete=(folder / MARKER).is_file(),
        changed_at=max(path.stat().st_mtime for path in files_of(folder)),
    )


def check_is_run(folder: Path) -> None:
    """
    Raises:
        ValueError: when a folder is not one of a run.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder} is not a folder: give the output_dir of a run.")
    if not any(folder.iterdir()):
        raise ValueError(f"{folder} is empty: give the output_dir of a run.")
    if not files_of(folder):
        raise ValueError(
            f"{folder} is not the folder of a run, which has a {METRICS_FILE}: give the output_dir of a run."
        )


def files_of(folder: Path) -> list[Path]:
    """List the files by which a folder is one of a run."""
    return [path for name in (METRICS_FILE, EVENTS_FILE, SETTINGS_FILE) if (path := folder / name).is_file()]


def by_step(lines: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Put together what was logged of each step, in their order. Where a step was made twice, the later counts."""
    steps: dict[int, dict[str, Any]] = {}
    for line in lines:
        again = "loss" in line and "loss" in steps.get(line["step"], {})
        steps[line["step"]] = dict(line) if again else {**steps.get(line["step"], {}), **line}
    return [steps[step] for step in sorted(steps)]


def status(run: Run, now: float) -> Status:
    """Tell whether a run goes on: by its marker, its last event, its process where that was on this machine, and the
    age of its metrics elsewhere.

    Args:
        run: as it was just read.
        now: Unix time.
    """
    end = run.events[-1] if run.events and run.events[-1]["event"] in ENDS else None
    if end and end["event"] == "failed" and end["error"].startswith(("KeyboardInterrupt", "Interrupted")):
        return Status("stopped", f"It was interrupted at step {end['step']}. The same command goes on.")
    if end and end["event"] == "failed":
        return Status("failed", f"It ended at step {end['step']} with {end['error'].splitlines()[0]}.")
    if run.complete:
        return Status("finished", "The trained model is complete.")
    if end and run.max_steps and end["step"] < run.max_steps:
        return Status("stopped", f"The training ended by itself after {end['step']} of {run.max_steps} steps.")
    if end:
        return Status("finished", "The training has made all its steps.")
    if run.start.get("machine") == machine():
        return _by_process(run, now)
    return _by_age(run, now, "Its process is not on this machine" if run.start else "Its process is not known")


def _by_process(run: Run, now: float) -> Status:
    """Tell the status of a run that was started on this machine and has told no end."""
    pid = run.start["pid"]
    if not _is_alive(pid, run.start["pid_created"]):
        return Status("died", f"Process {pid} has ended without a word: it was killed, or ran out of memory.")
    quiet = _by_age(run, now, f"Process {pid} is alive")
    return quiet if quiet.word == "silent" else Status("running", f"Process {pid} is alive.")


def _is_alive(pid: int, created: float) -> bool:
    """Say whether a process is there, and is the one that began then: numbers are used again."""
    try:
        process = psutil.Process(pid)
        return abs(process.create_time() - created) < 2 and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _by_age(run: Run, now: float, known: str) -> Status:
    """Tell the status of a run of which only the files are known."""
    silence = now - run.changed_at
    if silence <= run.patience:
        return Status("running", f"{known}, and it last logged {in_words(silence)} ago.")
    return Status("silent", f"{known}, but nothing was logged for {in_words(silence)}: it has died, or hangs.")
