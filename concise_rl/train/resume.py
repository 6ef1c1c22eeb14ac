"""What a checkpoint of transformers' Trainer lacks for a run to go on exactly as if it had not stopped.

TRL's sampler goes through its first order again, whatever the epoch; the trainer forgets where in a generation batch it
was, what was left of that batch, the metrics since the last log, and a reference model that follows the trained one.
Read at TRL 1.16 and transformers 5.17.
"""

from pathlib import Path
from typing import Any

import torch
from accelerate.utils import send_to_device
from datasets import Dataset
from transformers import TrainerCallback
from trl import GRPOTrainer
from trl.trainer.utils import RepeatSampler

from concise_rl.methods import Memory


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


class Resumable(GRPOTrainer):
    """The part of the trainer that makes a resumed run the unbroken one."""

    memory: Memory
    """What the method knows of the run."""

    def _get_train_sampler(self, dataset: Dataset | None = None) -> EpochSampler:
        theirs: Any = super()._get_train_sampler(dataset)
        names = ("data_source", "mini_repeat_count", "batch_size", "repeat_count", "shuffle", "seed")
        self.sampler = EpochSampler(**{name: getattr(theirs, name) for name in names})
        return self.sampler

    def _save_rng_state(self, output_dir: str) -> None:
        super()._save_rng_state(output_dir)
        save_state(self, output_dir)

    def _load_rng_state(self, checkpoint: str | None) -> None:
        super()._load_rng_state(checkpoint)
        if checkpoint is not None:
            load_state(self, checkpoint)


def steps_in_epoch(num_batches: int, args: Any) -> int:
    """Optimizer steps, as the Trainer counts them: the last one may have fewer batches."""
    return max(-(-num_batches // args.gradient_accumulation_steps), 1)


def state_file(checkpoint: str | Path, rank: int) -> Path:
    """Where a rank's part of the state is."""
    return Path(checkpoint) / f"rollout_state_{rank}.pt"


def reference_file(checkpoint: str | Path) -> Path:
    """Where the weights of a reference model that follows the trained one are."""
    return Path(checkpoint) / "reference.pt"


def check_reference(trainer: Any) -> None:
    """
    Raises:
        ValueError: for a reference model that changes as the run goes on and that no checkpoint could hold.
    """
    sharded = trainer.is_deepspeed_enabled or trainer.is_fsdp_enabled
    if trainer.args.sync_ref_model and sharded and trainer.args.save_strategy != "no":
        raise ValueError(
            "sync_ref_model: true under DeepSpeed or FSDP: a checkpoint would not hold the reference model, and a "
            "resumed run would begin with the initial one. Set sync_ref_model: false, or save_strategy: no."
        )


def save_state(trainer: Any, checkpoint: str | Path) -> None:
    """Write what this rank needs to go on in the middle of a generation batch, and of a window of metrics."""
    window = trainer.args.steps_per_generation * trainer.num_iterations
    within = trainer._step % window
    state = {
        "step": trainer._step,
        "rollouts": trainer._buffered_inputs if within else None,
        "logs": {name: _plain(values) for name, values in trainer._logs.items()} if within else {},
        "metrics": {mode: dict(values) for mode, values in trainer._metrics.items()},
        "tokens": trainer._total_train_tokens,
        "memory": dict(trainer.memory),
        "world_size": trainer.accelerator.num_processes,
    }
    torch.save(state, state_file(checkpoint, trainer.accelerator.process_index))
    if trainer.args.sync_ref_model and trainer.args.should_save:
        reference = trainer.accelerator.unwrap_model(trainer.ref_model)
        torch.save(reference.state_dict(), reference_file(checkpoint))


def _plain(values: Any) -> Any:
    """TRL's queues, by column where there are several, as lists."""
    return {name: list(of_name) for name, of_name in values.items()} if isinstance(values, dict) else list(values)


def load_state(trainer: Any, checkpoint: str | Path) -> None:
    """Put back what `save_state` wrote.

    Raises:
        ValueError: when the run that is resumed had another number of processes: the data order and the rollouts would
            silently be others. And when the checkpoint holds no such state.
    """
    state = _read_state(checkpoint, trainer.accelerator)
    trainer._step, trainer._buffered_inputs = state["step"], state["rollouts"]
    trainer._total_train_tokens = state["tokens"]
    trainer.memory = send_to_device(state.get("memory", trainer.memory), "cpu")  # where batches are
    for mode, values in state["metrics"].items():
        trainer._metrics[mode].update(values)
    for name, values in state.get("logs", {}).items():
        for column, of_column in values.items() if isinstance(values, dict) else []:
            trainer._logs[name][column].extend(of_column)
        if isinstance(values, list):
            trainer._logs[name].extend(values)
    if trainer.args.sync_ref_model:
        _load_reference(trainer, reference_file(checkpoint))


def _read_state(checkpoint: str | Path, accelerator: Any) -> dict[str, Any]:
    """
    Raises:
        ValueError: see `load_state`.
    """
    paths = [state_file(checkpoint, rank) for rank in (accelerator.process_index, 0)]
    path = next((path for path in paths if path.is_file()), None)
    if path is None:
        raise ValueError(
            f"{checkpoint} cannot be resumed: it lacks {paths[0].name}, the state of the rollouts. It was written by "
            "another program, or with save_only_model. Train on from its weights with another output_dir."
        )
    state = torch.load(path, map_location=accelerator.device, weights_only=True)
    if state["world_size"] != accelerator.num_processes or path != paths[0]:
        raise ValueError(
            f"{checkpoint} cannot be resumed by {accelerator.num_processes} processes: it was written by "
            f"{state['world_size']}. Start as many, or train on from its weights with another output_dir."
        )
    return state


def _load_reference(trainer: Any, path: Path) -> None:
    """
    Raises:
        ValueError: when it is not there.
    """
    if not path.is_file():
        raise ValueError(f"{path} is missing, the weights of the reference model: give another output_dir.")
    weights = torch.load(path, map_location="cpu", weights_only=True)
    trainer.accelerator.unwrap_model(trainer.ref_model).load_state_dict(weights)
