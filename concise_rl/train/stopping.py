"""Stop at a signal: the step that runs is made, a checkpoint is written, and the exit code says that there is more.

Slurm and Kubernetes send one before they take a machine away. transformers' `enable_jit_checkpoint` saves on each rank
by itself: one that hears the signal a step later than the others then waits for them for ever.
"""

import logging
import signal
import threading
from typing import Any

from accelerate.utils import gather_object
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from concise_rl.errors import Interrupted

logger = logging.getLogger(__name__)

SIGNALS = (signal.SIGTERM, signal.SIGUSR1)
"""One of them to any rank is enough. A second SIGTERM ends the process at once."""


class StopAtSignal(TrainerCallback):
    """Ends a training in order when a signal has come to one of its ranks."""

    def __init__(self) -> None:
        self.heard: str | None = None
        self._before: dict[int, Any] = {}

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        """Listen from now on. Python lets nobody but the main thread do that."""
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._hear) for number in SIGNALS}

    def _hear(self, number: int, frame: Any) -> None:
        self.heard = signal.Signals(number).name
        signal.signal(number, signal.SIG_DFL if number == signal.SIGTERM else signal.SIG_IGN)

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> TrainerControl:
        """Let the ranks agree, after each step, whether it was the last."""
        told = next((name for name in gather_object([self.heard]) if name), None)
        if told:
            self.heard = told
            control.should_save = control.should_training_stop = True
            logger.warning("%s: stopping after step %d, with a checkpoint.", told, state.global_step)
        return control

    def on_train_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """
        Raises:
            Interrupted: when the training has ended before its last step, on every rank. A checkpoint is written.
        """
        self.close()
        if self.heard and state.global_step < state.max_steps:
            raise Interrupted(
                f"{self.heard} has stopped the training after step {state.global_step} of {state.max_steps}. Give the "
                "same command again: it goes on there."
            )

    def close(self) -> None:
        """Listen no more."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}
