"""Keeps the page of a run up to date while it trains."""

import logging
import time
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from concise_rl.train.watch.page import write_run_page

logger = logging.getLogger(__name__)

EVERY = 5
"""Logged steps between two pages, of a run that has no such setting."""
SHARE = 0.02
"""The most of a run's time that its page may take: after a slow one there is a pause."""


class PageWriter(TrainerCallback):
    """Writes `run.html` at the first logged step and every so many after it. Only the main process writes."""

    def __init__(self, every: int) -> None:
        """
        Args:
            every: logged steps between two pages; 0 for none.
        """
        self.every = every
        self.logged, self.not_before, self.failed = 0, 0.0, ""

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, logs: Any = None, **_: Any
    ) -> None:
        """Write the page, if it is time."""
        if state.is_world_process_zero and self.every and "loss" in (logs or {}):
            if self.logged % self.every == 0 and time.perf_counter() >= self.not_before:
                self.write(Path(args.output_dir or "."))
            self.logged += 1

    def write(self, folder: Path) -> None:
        """Write the page now. No page is worth a run: whatever goes wrong is a warning, and the same kind only once."""
        if not self.every:
            return
        begun = time.perf_counter()
        try:
            write_run_page(folder)
        except Exception as error:
            kind = type(error).__name__
            if kind != self.failed:
                logger.warning("Could not write the page of this run (%s: %s). The run goes on.", kind, error)
            self.failed = kind
        now = time.perf_counter()
        self.not_before = now + (now - begun) * (1 / SHARE - 1)
