"""What a checkpoint of transformers' Trainer lacks for a run to go on exactly as if it had not stopped.

TRL's sampler goes through its first order again, whatever the epoch; the trainer forgets where in a generation batch it
was, what was left of that batch, and the metrics since the last log. Read at TRL 1.16 and transformers 5.17.
"""

from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback
from trl.trainer.utils import RepeatSampler


class EpochSampler(RepeatSampler):
    """TRL's sampler with an order that depends on the seed and the epoch alone. The first epoch's is TRL's."""

    epoch = 0

    def __iter__(self) -> Any:
        if self.shuffle:
            assert self.seed is not None, "TRL hands on the run's"
            self.generator.manual_seed(self.seed + self.epoch)
        return super().__iter__()


class TellEpoch(TrainerCallback):
    """Tells the sampler its epoch. transformers' own `set_epoch` does not reach it behind accelerate's wrappers."""

    def __init__(self, trainer: Any) -> None:
        self.trainer = trainer

    def on_epoch_begin(self, args: Any, state: Any, control: Any, train_dataloader: Any = None, **kwargs: Any) -> None:
        """Called before the epoch's order is drawn, in a resumed run, too."""
        self.trainer.sampler.epoch = state.global_step // steps_in_epoch(len(train_dataloader), args)


def steps_in_epoch(num_batches: int, args: Any) -> int:
    """Optimizer steps, as the Trainer counts them: the last one may have fewer batches."""
    return max(-(-num_batches // args.gradient_accumulation_steps), 1)


def state_file(checkpoint: str | Path, rank: int) -> Path:
    """Where a rank's part of the state is."""
    return Path(checkpoint) / f"rollout_state_{rank}.pt"


def save_state(trainer: Any, checkpoint: str | Path) -> None:
    """Write what this rank needs to go on in the middle of a generation batch, and of a window of metrics."""
    window = trainer.args.steps_per_generation * trainer.num_iterations
    state = {
        "step": trainer._step,
        "rollouts": trainer._buffered_inputs if trainer._step % window else None,
        "metrics": {mode: dict(values) for mode, values in trainer._metrics.items()},
        "tokens": trainer._total_train_tokens,
        "world_size": trainer.accelerator.num_processes,
    }
    torch.save(state, state_file(checkpoint, trainer.accelerator.process_index))


def load_state(trainer: Any, checkpoint: str | Path) -> None:
    """Put back what `save_state` wrote.

    Raises:
        ValueError: when the run that is resumed had another number of processes: the data order and the rollouts would
            silently be others.
    """
    path, processes = state_file(checkpoint, trainer.accelerator.process_index), trainer.accelerator.num_processes
    state = torch.load(path, map_location=trainer.accelerator.device, weights_only=True) if path.exists() else {}
    if state.get("world_size") != processes:
        raise ValueError(
            f"{checkpoint} cannot be resumed by {processes} processes: it was written by "
            f"{state.get('world_size', 'fewer')}. Start as many, or train on from its weights with another output_dir."
        )
    trainer._step, trainer._buffered_inputs = state["step"], state["rollouts"]
    trainer._total_train_tokens = state["tokens"]
    for mode, values in state["metrics"].items():
        trainer._metrics[mode].update(values)
