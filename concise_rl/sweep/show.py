"""Show a sweep: its plan, the runs that train, the time left, and what came of each."""

import time
from collections.abc import Sequence
from pathlib import Path

from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
from rich.table import Table
from rich.text import Text

from concise_rl.output.lines import in_words, say
from concise_rl.sweep.plan import Run, state_of
from concise_rl.sweep.progress import last_error, read_progress
from concise_rl.sweep.record import Record, State

QUARTERS = 4
"""Without a terminal, a line for each of these parts of a run."""


def plan_table(runs: Sequence[Run], out: Path) -> Table:
    """List each run, how many steps it makes, and what is to be done for it."""
    labels = list(dict.fromkeys(run.label for run in runs))
    table = Table(box=box.SIMPLE_HEAD, title=f"{len(labels)} recipes x {len(runs) // len(labels)} seeds in {out}")
    table.title_justify = "left"
    for name in ("run", "recipe", "state"):
        table.add_column(name, overflow="fold")
    table.add_column("steps", justify="right")
    for run in runs:
        state = state_of(run)
        style = "green" if run.is_trained else ""
        table.add_row(run.name, str(run.path), Text(state, style=style), str(run.steps or "by epochs"))
    return table


def seconds_left(runs: Sequence[Run], record: Record, jobs: int) -> float | None:
    """Estimate how long the trainings take, from the seconds that a step took in this sweep's runs; None before any."""
    known = {name: state.seconds_per_step for name, state in record.runs.items() if state.seconds_per_step}
    if not known:
        return None
    usual = sum(known.values()) / len(known)
    total = 0.0
    for run in runs:
        own = [value for name, value in known.items() if record.runs[name].label == run.label]
        pace = sum(own) / len(own) if own else usual
        total += pace * max(0, (run.steps or 0) - read_progress(run.folder).step)
    return total / min(jobs, max(1, len(runs)))


class Display:
    """Shows the runs that train, and keeps the record of all."""

    def __init__(self, runs: Sequence[Run], record: Record, out: Path, jobs: int, console: Console) -> None:
        """
        Args:
            runs: of the sweep, trained or not.
            record: is brought up to date, and written, as runs begin and end.
            out: the sweep's folder.
            jobs: how many train at a time.
            console: where to show it.
        """
        self.runs, self.record, self.out, self.jobs, self.console = runs, record, out, jobs, console
        self.bars = Progress(
            TextColumn("{task.description}"), BarColumn(24), MofNCompleteColumn(), TextColumn("{task.fields[text]}"),
            console=console, transient=True, disable=not console.is_terminal,
        )  # fmt: skip
        self.whole = self.bars.add_task("runs", total=len(runs), completed=self.done, text="")
        self.began: dict[str, tuple[float, int, int]] = {}  # time, step and size of the log
        self.first: dict[str, tuple[float, int]] = {}  # time and number of the first step that was seen
        self.tasks: dict[str, TaskID] = {}
        self.told: dict[str, int] = {}

    def __enter__(self) -> "Display":
        self.bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        for run in self.runs:
            state = self.record.runs[run.name]
            if state.status == "running" and state.job is None:
                self._record(run, status="waiting")
        self.bars.stop()

    def started(self, run: Run) -> None:
        """Say that a run begins, or from where it goes on."""
        step, size = run.resumes_at or 0, run.log.stat().st_size if run.log.is_file() else 0
        self.began[run.name] = time.monotonic(), step, size
        self.told[run.name] = QUARTERS * step // run.steps if run.steps else 0
        self.tasks[run.name] = self.bars.add_task(run.name, total=run.steps, text="starts")
        self._record(run, status="running", error=None)
        number = [other.name for other in self.runs].index(run.name) + 1
        at = f", from step {step}" if step else ""
        self.say(f"[{number}/{len(self.runs)}] {run.name}{at}: {run.log}", style="dim")

    def looked(self, running: Sequence[Run]) -> None:
        """Show how far the runs are that train, and the time left."""
        for run in running:
            now = read_progress(run.folder)
            pace = self._pace(run, now.step)
            if pace:
                self.record.runs[run.name].seconds_per_step = pace
            self.bars.update(self.tasks[run.name], completed=now.step, text=str(now) or "starts")
            self._tell(run, now.step, str(now))
        self.bars.update(self.whole, completed=self.done, text=self.left())

    def ended(self, run: Run, status: int) -> None:
        """Say what came of a run, and record it."""
        began, _, size = self.began[run.name]
        self.bars.remove_task(self.tasks.pop(run.name))
        now = read_progress(run.folder)
        if status == 0 and run.is_trained:
            self._record(run, status="trained", seconds_per_step=self._pace(run, now.step))
            self.say(f"{run.name}: trained in {in_words(time.monotonic() - began)}, {now}", style="green")
        else:
            error = last_error(run.log, size, status)
            self._record(run, status="failed", error=error)
            self.say(f"{run.name}: failed, {error}. See {run.log}", style="red")

    def say(self, text: str, style: str = "") -> None:
        """Print a line that stays."""
        say(self.console, text, style)

    @property
    def done(self) -> int:
        """Count the runs that need nothing more."""
        return sum(self.record.runs[run.name].status in ("trained", "failed") for run in self.runs)

    def left(self) -> str:
        """Say how much time is left for training, as far as it can be told."""
        todo = [run for run in self.runs if self.record.runs[run.name].status in ("waiting", "running")]
        seconds = seconds_left(todo, self.record, self.jobs)
        return "" if seconds is None or not todo else f"training ends in about {in_words(seconds)}"

    def _tell(self, run: Run, step: int, text: str) -> None:
        """Print a line now and then, without a terminal."""
        part = QUARTERS * step // run.steps if run.steps else 0
        if self.bars.disable and 0 < part < QUARTERS and part > self.told[run.name]:
            self.told[run.name] = part
            self.say(", ".join(filter(None, (f"{run.name}: step {step}/{run.steps}", text, self.left()))))

    def _pace(self, run: Run, step: int) -> float | None:
        """Measure the seconds between two steps of a run, as seen from here; None before the second."""
        if step > self.began[run.name][1]:
            self.first.setdefault(run.name, (time.monotonic(), step))
        began, first = self.first.get(run.name, (0.0, step))
        return (time.monotonic() - began) / (step - first) if step > first else None

    def _record(self, run: Run, **changes: object) -> None:
        state: State = self.record.runs[run.name]
        self.record.runs[run.name] = state.model_copy(update=changes)
        self.record.write(self.out)
