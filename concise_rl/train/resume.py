"""What a checkpoint of transformers' Trainer lacks for a run to go on exactly as if it had not stopped.

TRL's sampler goes through its first order again, whatever the epoch; the trainer forgets where in a generation batch it
was, what was left of that batch, the metrics since the last log, and a reference model that follows the trained one.
Other numbers of processes go on at the end of a generation batch, where all that ranks hold apart is used up.
Read at TRL 1.16 and transformers 5.17.
"""

import logging
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import send_to_device
from datasets import Dataset
from transformers import TrainerCallback
from trl import GRPOTrainer
from trl.trainer.utils import RepeatSampler

from concise_rl.methods import Memory
from concise_rl.train.checkpoint import rows_of_step

logger = logging.getLogger(__name__)


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
        "rows": rows_of(trainer.args),
    }
    torch.save(state, state_file(checkpoint, trainer.accelerator.process_index))
    if trainer.args.sync_ref_model and trainer.args.should_save:
        reference = trainer.accelerator.unwrap_model(trainer.ref_model)
        torch.save(reference.state_dict(), reference_file(checkpoint))


def _plain(values: Any) -> Any:
    """TRL's queues, by column where there are several, as lists."""
    return {name: list(of_name) for name, of_name in values.items()} if isinstance(values, dict) else list(values)


def rows_of(args: Any) -> list[int]:
    """How many rollouts a step is made of, and a generation batch, over all processes."""
    return [rows_of_step(args), args.generation_batch_size]


def load_state(trainer: Any, checkpoint: str | Path) -> None:
    """Put back what `save_state` wrote.

    Raises:
        ValueError: when another number of processes cannot go on here (see `_read_state`), or there is no such state.
    """
    state = _read_state(checkpoint, trainer)
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


def _read_state(checkpoint: str | Path, trainer: Any) -> dict[str, Any]:
    """Read this rank's state, or the first one's where other processes wrote it: what it then holds is alike on all.

    Raises:
        ValueError: when there is none, or when other processes wrote it and weights are in shards, or rollouts left.
    """
    rank, processes = trainer.accelerator.process_index, trainer.accelerator.num_processes
    paths = [path for path in (state_file(checkpoint, rank), state_file(checkpoint, 0)) if path.is_file()]
    if not paths:
        raise ValueError(
            f"{checkpoint} cannot be resumed: it lacks {state_file(checkpoint, rank).name}, the state of the rollouts. "
            "It was written by another program, or with save_only_model. Train on from its weights with another "
            "output_dir."
        )
    state = torch.load(paths[0], map_location=trainer.accelerator.device, weights_only=True)
    if state["world_size"] == processes and paths[0] == state_file(checkpoint, rank):
        return state
    sharded = trainer.is_deepspeed_enabled or trainer.is_fsdp_enabled
    why = (
        "weights are in shards"
        if sharded
        else "in the middle of a batch of rollouts"
        if state["rollouts"] is not None
        else ""
    )
    if why or "rows" not in state:
        raise ValueError(
            f"{checkpoint} cannot be resumed by {processes} processes: it was written by {state['world_size']}"
            f"{', ' + why if why else ''}. Start as many, or train on from its weights with another output_dir."
        )
    if trainer.accelerator.is_main_process:
        logger.warning(what_changes(state["world_size"], processes, state["rows"], rows_of(trainer.args)))
    return state | {"step": 0}  # of the generation batch that begins; a step may be cut otherwise now


def what_changes(before: int, now: int, rows_before: list[int], rows_now: list[int]) -> str:
    """Say what another number of processes means for a run."""
    said = f"The checkpoint was written by {before} processes and goes on with {now}."
    if rows_before == rows_now:
        sharing = " and, in a batch of several steps, which rollouts share one" if rows_now[0] < rows_now[1] else ""
        return f"{said} The same rollouts are made: only the rounding of sums{sharing} changes."
    step, generation = zip(rows_before, rows_now, strict=True)
    return (
        f"{said} A step has {step[1]} rollouts, not {step[0]}, and a generation batch {generation[1]}, not "
        f"{generation[0]}: this epoch's problems come in other batches, some again and some not at all. Set "
        "per_device_train_batch_size or gradient_accumulation_steps so that the products are as before."
    )


def _load_reference(trainer: Any, path: Path) -> None:
    """
    Raises:
        ValueError: when it is not there.
    """
    if not path.is_file():
        raise ValueError(f"{path} is missing, the weights of the reference model: give another output_dir.")
    weights = torch.load(path, map_location="cpu", weights_only=True)
    trainer.accelerator.unwrap_model(trainer.ref_model).load_state_dict(weights)
