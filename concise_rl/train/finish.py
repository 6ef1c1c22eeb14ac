"""Run a trainer from its last checkpoint to its end, and write the model."""

import traceback
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerState, TrainingArguments

import concise_rl
import reward
from concise_rl.files import MARKER, METRICS_FILE, read_steps, write_atomically
from concise_rl.recipe.precision import sum_in_float32
from concise_rl.train.callbacks import close_progress_bar
from concise_rl.train.checkpoint import check_shards, demand_steps, last_of_all
from concise_rl.train.finite import demand_finite_weights
from concise_rl.train.stopping import StopAtSignal

OURS = tuple(Path(module.__file__ or "").parent for module in (concise_rl, reward))


class OwnIntervals(TrainerCallback):
    """A resumed run logs and saves as often as it is told now. transformers goes on as the checkpoint was told."""

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, *_: Any, **__: Any) -> None:
        """Called when the checkpoint is loaded."""
        state.compute_steps(args, state.max_steps)


def tell_beginning(checkpoint: Path | None, folder: Path) -> None:
    """Say where a run goes on, or that the steps that it has made are made again."""
    made = max((line["step"] for line in read_steps(folder / METRICS_FILE)), default=0)
    if checkpoint:
        print(f"Resuming from {checkpoint}")
    elif made:
        print(f"There is no complete checkpoint in {folder}: its {made} steps are made again.")


def finish_training(trainer: Any, output_dir: str) -> None:
    """Train from the last complete checkpoint, if any, and write the model; the marker comes last.

    Raises:
        ValueError: when the training ended before its last step, without a marker then, and as `check_shards` does.
        Interrupted: when a signal has ended it, see `StopAtSignal`.
    """
    checkpoint = last_of_all(output_dir)
    if trainer.accelerator.is_main_process:
        tell_beginning(checkpoint, Path(output_dir))
    if checkpoint:
        check_shards(trainer, checkpoint)
    trainer.add_callback(OwnIntervals())
    stopping = StopAtSignal()
    trainer.add_callback(stopping)
    sum_in_float32(trainer.accelerator)
    try:
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    except ValueError as error:
        # One from this project speaks for itself. Another's may be a bug.
        raised_in = Path(traceback.extract_tb(error.__traceback__)[-1].filename)
        if not any(raised_in.is_relative_to(folder) for folder in OURS):
            traceback.print_exc()
        raise
    finally:
        stopping.close()
        close_progress_bar(trainer)
    demand_steps(trainer, trainer.state.max_steps)
    demand_finite_weights(trainer)
    trainer.model.config.use_cache = True  # training turned it off, and the released model would generate slowly
    trainer.save_model(output_dir)
    trainer.save_state()
    if trainer.accelerator.is_main_process:
        write_atomically(Path(output_dir) / MARKER, "the model in this folder is the trained one\n")
        print(f"The trained model is in {output_dir}")
