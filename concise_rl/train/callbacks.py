"""What a person sees of a run: a progress bar that fits a line, a file of metrics, and loud warnings."""

import logging
import time
from pathlib import Path
from typing import Any, ClassVar

from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_callback import ProgressCallback

from concise_rl.files import METRICS_FILE, append_line, forget_later

logger = logging.getLogger(__name__)

LEAST_RATIO = 0.8
"""Mean importance weight, and that of long rollouts over short ones, below which to warn. Both are 1 without noise."""


class ProgressBar(ProgressCallback):
    """The training bar with accuracy, tokens and loss beside it, in place of a line of sixty numbers for each step."""

    SHOWN: ClassVar[dict[str, str]] = {
        "accuracy": "correct/mean",
        "sampled": "curriculum/sampled_correct",
        "tokens": "length/mean",
        "loss": "loss",
    }

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, logs: Any = None, **_: Any
    ) -> None:
        """Show the latest values."""
        if state.is_world_process_zero and self.training_bar is not None and logs:
            shown = {name: f"{logs[key]:.3g}" for name, key in self.SHOWN.items() if isinstance(logs.get(key), float)}
            self.training_bar.set_postfix(shown)


def use_progress_bar(trainer: Trainer) -> None:
    """Put `ProgressBar` where the trainer has transformers' own; leave a trainer without one (disable_tqdm) alone."""
    if trainer.pop_callback(ProgressCallback):
        trainer.add_callback(ProgressBar())


def close_progress_bar(trainer: Trainer) -> None:
    """Let the bar of a training that has failed write its last line now: what went wrong is said below it."""
    for callback in trainer.callback_handler.callbacks:
        if isinstance(callback, ProgressCallback) and callback.training_bar is not None:
            callback.training_bar.close()
            callback.training_bar = None


def metrics_file(args: TrainingArguments) -> Path:
    """Where the metrics of a run are."""
    return Path(args.output_dir or ".") / METRICS_FILE


class MetricsFile(TrainerCallback):
    """Every logged step as a line of `metrics.jsonl` in the output folder, whatever else it is reported to.

    `unix_time` says when the step was logged. A run replaces the lines of the steps that it makes again, also one that
    was cut before its first checkpoint and begins anew.
    """

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Drop what came after the checkpoint, a line that the end of the process tore among it."""
        if state.is_world_process_zero:
            forget_later(metrics_file(args), state.global_step)

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, logs: Any = None, **_: Any
    ) -> None:
        """Append the step. A full disk costs the line, with a warning, not the run."""
        if not state.is_world_process_zero:
            return
        try:
            now = round(time.time(), 3)
            append_line(metrics_file(args), {"step": state.global_step, "unix_time": now, **(logs or {})})
        except OSError as error:
            logger.warning("Could not write metrics of step %d: %s", state.global_step, error)


class Watchdog(TrainerCallback):
    """Says aloud what otherwise wastes hours: a cap that cuts most rollouts, no signal."""

    def __init__(self, truncation_warning: float, no_signal_patience: int) -> None:
        """
        Args:
            truncation_warning: share of rollouts at the cap from which to warn.
            no_signal_patience: logged steps in a row without any signal after which to warn.
        """
        self.truncation_warning, self.no_signal_patience = truncation_warning, no_signal_patience
        self.silent_steps = 0

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, logs: Any = None, **_: Any
    ) -> None:
        """Look at one logged step."""
        logs = logs or {}
        if state.is_world_process_zero:
            cap = f"max_completion_length={getattr(args, 'max_completion_length', None)}"
            # A curriculum chooses what the batch holds: what was sampled tells more.
            cut = logs.get("curriculum/sampled_cut", logs.get("rollout/cut", 0.0))
            self._check_truncation("rollouts", cut, state.global_step, cap)
            exits_cut = logs.get("rollout/exits_cut", 0.0)
            self._check_truncation("exits' answers", exits_cut, state.global_step, "the method's answer_max_tokens")
            self._check_delimiter(logs.get("rollout/ended_thinking", 0.0), args, state.global_step)
            self._check_signal(logs.get("groups/no_signal", 0.0), state.global_step)
            self._check_ratio(logs, state.global_step)

    def _check_truncation(self, what: str, share: float, step: int, cap: str) -> None:
        if share > self.truncation_warning:
            logger.warning(
                "Step %d: %.0f %% of the %s were cut at %s and count as wrong. "
                "Raise it, unless the cap is meant to be the compressor.",
                *(step, 100 * share, what, cap),
            )

    def _check_delimiter(self, share: float, args: Any, step: int) -> None:
        if share > self.truncation_warning:
            logger.warning(
                "Step %d: %.0f %% of the rollouts ended inside the thinking, without %r, and count as wrong. Is that "
                "think_end what closes this model's thinking, and does its chat template let it think?",
                *(step, 100 * share, getattr(args, "think_end", None)),
            )

    def _check_signal(self, share: float, step: int) -> None:
        self.silent_steps = self.silent_steps + 1 if share == 1.0 else 0
        if self.silent_steps and self.silent_steps % self.no_signal_patience == 0:
            logger.warning(
                "Step %d: no group has had a signal for %d logged steps, so nothing is learnt. Are the problems too "
                "hard or too easy, the answers not parsed, the completions cut? metrics.jsonl has groups/all_wrong, "
                "groups/all_correct and rollout/cut.",
                *(step, self.silent_steps),
            )

    def _check_ratio(self, logs: dict[str, Any], step: int) -> None:
        keys = ("ratio/applied", "ratio/long_over_short")
        lost = [key for key in keys if logs.get(key) is not None and logs[key] < LEAST_RATIO]
        if lost:
            logger.warning(
                "Step %d: %s: the importance weights take gradient away, mostly from long rollouts. Set "
                "vllm_importance_sampling_mode: token_truncate, or find out why engine and trainer disagree "
                "(sampling/sampling_logp_difference/mean).",
                *(step, ", ".join(f"{key} is {logs[key]:.2f}" for key in lost)),
            )
