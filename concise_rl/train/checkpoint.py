"""Which checkpoint can be resumed from, and which run has come to its end.

transformers writes a checkpoint in place and resumes from the highest number, complete or not. Here a marker is
written last, which lists the files. Only a folder that holds it, and all that it lists, counts.
"""

import json
import logging
import os
import shutil
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from accelerate.utils import gather_object
from torch import nn
from torch.serialization import register_package

from concise_rl.files import MARKER, flush, flush_all, open_up, opens, write_atomically
from concise_rl.train.finite import demand_finite_weights, weights_are_finite

logger = logging.getLogger(__name__)

# Under gloo a process's device is called cpu:0, and to it optimizers and rollouts are loaded. torch knows cpu alone.
register_package(0, lambda storage: None, lambda storage, name: storage if name.startswith("cpu:") else None)


class WholeCheckpoints:
    """For a trainer: marks each checkpoint when every rank has written its part, and deletes older ones when it is
    marked on all machines. transformers deletes them first, and with `save_total_limit: 1` a run that is cut in between
    has none. Weights that are not finite are not saved."""

    def train(self: Any, *args: Any, **kwargs: Any) -> Any:
        """As in transformers, which makes no step and says nothing when there are too few rows for one.

        Raises:
            ValueError: when no step was made.
        """
        output = super().train(*args, **kwargs)
        demand_steps(self, 1)
        return output

    def _save_checkpoint(self: Any, model: nn.Module, trial: Any) -> None:
        demand_finite_weights(self)
        folder, step = self.args.output_dir, self.state.global_step
        if self.args.should_save:
            (checkpoint_of(folder, step) / MARKER).unlink(missing_ok=True)  # of the same step, which is made again
        self.accelerator.wait_for_everyone()
        limit, self.args.save_total_limit = self.args.save_total_limit, None
        super()._save_checkpoint(model, trial)
        self.args.save_total_limit = limit
        self.accelerator.wait_for_everyone()
        if self.args.should_save:
            if self.is_deepspeed_enabled:
                name_shards(checkpoint_of(folder, step))
            mark_complete(folder, step, made_by(self))
        self.accelerator.wait_for_everyone()
        if self.args.should_save and limit is not None and limit > 0:
            drop_checkpoints(folder, step, limit, self.state.best_model_checkpoint)

    def _save(self: Any, output_dir: str | None = None, state_dict: dict[str, Any] | None = None) -> None:
        if not (self.is_world_process_zero() or self.is_deepspeed_enabled or self.is_fsdp_enabled):
            # With save_on_each_node. transformers (5.17: distributed/mixin.py:210) leaves weights to rank 0's disk.
            self.model.should_save_on_this_rank = bool
        super()._save(output_dir, state_dict)
        open_up(Path(output_dir or self.args.output_dir))

    def _load_from_checkpoint(self: Any, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        own: Any = model or self.model
        dtypes = {name: param.dtype for name, param in own.named_parameters()}
        try:
            super()._load_from_checkpoint(resume_from_checkpoint, model)
        except RuntimeError as error:
            if "loading state_dict" not in str(error):
                raise
            raise ValueError(another_model(resume_from_checkpoint, "shapes")) from error
        # transformers loads either the adapters in subfolders (TRL keeps the reference in one) or the one beside them.
        if "ref" in getattr(own, "peft_config", {}) and not self.is_fsdp_enabled:
            own.load_adapter(resume_from_checkpoint, own.active_adapter, is_trainable=True)
        # PEFT makes float32 of adapters that it loads; TRL has those of a quantized model in bfloat16.
        for name, param in own.named_parameters():
            if param.dtype != dtypes[name]:
                param.data = param.data.to(dtypes[name])

    def _issue_warnings_after_load(self: Any, load_result: Any) -> None:
        super()._issue_warnings_after_load(load_result)
        named = self.model.state_dict()
        loaded = {tensor.data_ptr() for name, tensor in named.items() if name not in load_result.missing_keys}
        if any(named[name].data_ptr() not in loaded for name in load_result.missing_keys):  # tied ones are written once
            raise ValueError(another_model("The checkpoint", "names"))

    def _load_optimizer_and_scheduler(self: Any, checkpoint: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint is not None and not weights_are_finite(self):
            raise ValueError(
                f"{checkpoint} holds weights that are not finite. Delete it: the run then goes on from the one before."
            )


def another_model(checkpoint: str, what: str) -> str:
    """Say that a checkpoint's weights are not those of the model that is trained."""
    return (
        f"{checkpoint} holds a model whose weights have other {what} than the one to train: was it changed since? "
        "Put it back, or give another output_dir to begin anew."
    )


def demand_steps(trainer: Any, wanted: int) -> None:
    """
    Raises:
        ValueError: when a training that has ended has made fewer steps, or float16's loss scaler skipped all of them.
    """
    made, args = trainer.state.global_step, trainer.args
    if made < max(wanted, 1):
        rows = len(trainer.train_dataset) if hasattr(trainer.train_dataset, "__len__") else "unknown"
        of_batch = args.per_device_train_batch_size * args.gradient_accumulation_steps * args.world_size
        taken = (getattr(args, "generation_batch_size", None) or of_batch) // getattr(args, "num_generations", 1)
        raise ValueError(
            f"Training ended after {made} of {max(wanted, 1)} steps and is not complete. Rows: {rows}; prompts that a "
            f"step takes: {taken}. Give it more rows or smaller batches, and look for a callback that stops it."
        )
    if trainer.skipped >= made:
        raise ValueError(f"float16's loss scaler skipped all {made} steps: nothing was learnt. Train in bf16.")


def demand_trainable(model: Any) -> None:
    """
    Raises:
        ValueError: for a model of which nothing can be trained: PEFT loads adapters frozen.
    """
    if not any(param.requires_grad for param in model.parameters()):
        raise ValueError(
            "The model has no trainable parameters. Load adapters by PeftModel.from_pretrained(..., "
            "is_trainable=True), or give a peft_config."
        )


def checkpoint_of(output_dir: str | Path, step: int) -> Path:
    """The folder of a step's checkpoint."""
    return Path(output_dir) / f"checkpoint-{step}"


def saved_steps(output_dir: str | Path) -> list[int]:
    """The steps of which there is a checkpoint, complete or not, in their order."""
    numbers = (path.name.rpartition("-")[2] for path in Path(output_dir).glob("checkpoint-*") if path.is_dir())
    return sorted(int(number) for number in numbers if number.isdigit())


def mark_complete(output_dir: str | Path, step: int, by: Mapping[str, int] | None = None) -> None:
    """Mark the checkpoint of `step` as complete, with the sizes of its files in bytes. Call when all are written.

    Args:
        output_dir: of the run.
        step: of the checkpoint.
        by: see `made_by`.
    """
    folder = checkpoint_of(output_dir, step)
    files = [path for path in sorted(folder.rglob("[!.]*")) if path.is_file()]  # file servers hide some of theirs there
    sizes = {str(path.relative_to(folder)): _size(path) for path in files}
    flush_all(folder)  # a power failure must not leave the marker and lose what it vouches for
    write_atomically(folder / MARKER, json.dumps({"step": step, **(by or {}), "files": sizes}, indent=1) + "\n")
    flush(folder, folder.parent)  # before an older one is deleted


def made_by(trainer: Any) -> dict[str, int]:
    """Return how many processes train, and how many rows all of them take to a step."""
    return {"processes": trainer.accelerator.num_processes, "rows": rows_of_step(trainer.args)}


def rows_of_step(args: Any) -> int:
    """Return how many rows a step is made of, over all processes."""
    return args.per_device_train_batch_size * args.gradient_accumulation_steps * args.world_size


def makers_of(checkpoint: Path) -> dict[str, int]:
    """Return what `made_by` said of a checkpoint; older ones say nothing."""
    said = _said(checkpoint) or {}
    return {name: said[name] for name in ("processes", "rows") if name in said}


def check_shards(trainer: Any, checkpoint: Path) -> None:
    """
    Raises:
        ValueError: when other processes wrote a checkpoint in which weights are in shards. DeepSpeed and FSDP would
            end in the middle of loading it.
    """
    before, now = makers_of(checkpoint).get("processes"), trainer.accelerator.num_processes
    if (trainer.is_deepspeed_enabled or trainer.is_fsdp_enabled) and before not in (None, now):
        raise ValueError(
            f"{checkpoint} cannot be resumed by {now} processes: it was written by {before}, weights are in shards. "
            "Start as many, or train on from its weights with another output_dir."
        )


def _size(path: Path) -> int:
    """Opened, because a file server may otherwise tell the size that a file of another machine had before."""
    with path.open("rb") as file:
        return os.fstat(file.fileno()).st_size


def lacking(checkpoint: Path) -> list[str] | None:
    """The files that a marked checkpoint has no more, or not whole; None without a marker.

    Checkpoints lose files when people make room, and a copy that was cut off may have the marker and little else.
    """
    if not (checkpoint / MARKER).is_file():
        return None
    said = _said(checkpoint)
    if said is None:
        return [MARKER]
    sizes: dict[str, int] = said.get("files", {})
    return [name for name, size in sizes.items() if not _is_whole(checkpoint / name, size)]


def _said(checkpoint: Path) -> dict[str, Any] | None:
    """What a marker says; None for one that is damaged. Older ones hold the step alone, or nothing."""
    text = (checkpoint / MARKER).read_text(errors="replace").strip()
    try:
        said = json.loads(text or "0")
    except ValueError:
        return None
    return said if isinstance(said, dict) else {}


def _is_whole(path: Path, size: int) -> bool:
    return path.is_file() and path.stat().st_size == size and opens(path)


def name_shards(checkpoint: Path) -> None:
    """Say in a checkpoint which of its folders holds DeepSpeed's shards. DeepSpeed (0.19: runtime/engine.py:4960) says
    it on rank 0's disk alone, and no machine with another could load them."""
    latest = checkpoint / "latest"
    if not latest.exists():
        (shards,) = checkpoint.glob("global_step*")
        write_atomically(latest, shards.name)


def complete_steps(output_dir: str | Path) -> list[int]:
    """The steps of a run's complete checkpoints, newest first. Others that are newer are named in a warning."""
    complete: list[int] = []
    for step in reversed(saved_steps(output_dir)):
        path = checkpoint_of(output_dir, step)
        lost = lacking(path)
        if lost == []:
            complete.append(step)
        elif not complete:
            why = f"{', '.join(lost)} missing, cut short or damaged" if lost else "the run was stopped while writing it"
            logger.warning("%s is incomplete (%s): passed over.", path, why)
    return complete


def drop_checkpoints(output_dir: str | Path, step: int, limit: int, best: str | None = None) -> None:
    """Delete all checkpoints but `limit`: torn ones first, then those of later steps, then the oldest.

    transformers goes by the time of the files. After a clock was set back it takes the newest for the oldest.

    Args:
        output_dir: of the run.
        step: whose checkpoint was just made.
        limit: how many to keep, above 0.
        best: path of one that is kept beside them. Its name alone counts, because runs are moved.
    """
    saved = saved_steps(output_dir)
    useful = {at for at in saved if at <= step and lacking(checkpoint_of(output_dir, at)) == []}
    in_order = sorted(saved, key=lambda at: (at in useful, at))
    for path in (checkpoint_of(output_dir, at) for at in in_order[:-limit]):
        if best is None or path.name != Path(best).name:
            (path / MARKER).unlink(missing_ok=True)  # first: half of it may be left
            shutil.rmtree(path, ignore_errors=True)
            if path.exists():
                logger.warning("Could not delete all of %s.", path)


def last_complete(output_dir: str | Path) -> Path | None:
    """The newest complete checkpoint of a run, or None."""
    steps = complete_steps(output_dir)
    return checkpoint_of(output_dir, steps[0]) if steps else None


def last_of_all(output_dir: str | Path) -> Path | None:
    """The newest checkpoint that is complete on the disks of all ranks, or None. Every rank has to ask.

    Raises:
        ValueError: when some disks hold complete checkpoints, and none of them is on all.
    """
    of_ranks: list[tuple[str, list[int]]] = gather_object([(socket.gethostname(), complete_steps(output_dir))])
    steps = set.intersection(*(set(steps) for _, steps in of_ranks))
    if steps:
        return checkpoint_of(output_dir, max(steps))
    newest = max((max(steps) for _, steps in of_ranks if steps), default=None)
    if newest is None:
        return None
    lacking = ", ".join(f"{host} (rank {rank})" for rank, (host, steps) in enumerate(of_ranks) if newest not in steps)
    raise ValueError(
        f"checkpoint-{newest} of {output_dir} is not complete on all machines: {lacking} lack it. Copy it there, with "
        "the files of those ranks, or give another output_dir to begin anew."
    )
