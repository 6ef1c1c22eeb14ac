"""Claim a run's output folder, and tell whether it holds this run or another."""

import json
import secrets
import shutil
import socket
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list, gather_object

from concise_rl.files import EVENTS_FILE, MARKER, PAGE_FILE, ROLLOUTS_FILE, SETTINGS_FILE, read_object, write_atomically
from concise_rl.recipe.parse import Recipe
from concise_rl.recipe.precision import strategy_of
from concise_rl.rollout.sync.links import WEIGHTS_FOLDER
from concise_rl.train.checkpoint import last_complete, makers_of, rows_of_step
from concise_rl.train.lock import LOCK, hold
from concise_rl.train.resume import rows_of, state_file

# What may differ between two starts of the same run: what is learnt does not depend on it, only where and how it is
# computed, how much memory that takes, and what is told of it. Not so the importance weights, which are in the loss.
NOT_IDENTITY = {
    "output_dir",
    "overwrite",
    "report_to",
    "run_name",
    "project",
    "disable_tqdm",
    "push_to_hub",
    "num_completions_to_print",
    "verifier_workers",
    "dataloader_num_workers",
    "dataloader_persistent_workers",
    "dataloader_pin_memory",
    "dataloader_prefetch_factor",
    "dataset_num_proc",
    "gradient_checkpointing",
    "gradient_checkpointing_kwargs",
    "activation_offloading",
    "torch_empty_cache_steps",
    "ds3_gather_for_generation",
    "attn_implementation",
    "vllm_mode",
    "vllm_max_model_length",
    "vllm_gpu_memory_utilization",
    "vllm_enable_sleep_mode",
    "vllm_tensor_parallel_size",
    "vllm_model_impl",
    "vllm_group_port",
    "rollout_timeout",
    "truncation_warning",
    "no_signal_patience",
    "rows_per_forward",
    "sync_warning",
    "sync_error",
}
NOT_IDENTITY_PREFIXES = ("hub_", "log_", "logging_", "save_", "ddp_", "trackio_", "vllm_server_", "page_", "record_")
# How a step is cut, which another number of processes may make necessary.
CUT = {"per_device_train_batch_size", "gradient_accumulation_steps", "steps_per_generation"}
# What a run leaves in its folder before its first step.
OF_A_START = {LOCK, SETTINGS_FILE, WEIGHTS_FOLDER, EVENTS_FILE, ROLLOUTS_FILE, PAGE_FILE, "completions", "runs"}
# Learning rates that do not depend on how many steps there will be.
STEADY_SCHEDULES = ("constant", "constant_with_warmup")


def is_bookkeeping(key: str) -> bool:
    """Whether a setting may differ between two starts of the same run."""
    return key in NOT_IDENTITY or key.startswith(NOT_IDENTITY_PREFIXES)


def identity(recipe: Recipe) -> dict[str, Any]:
    """The settings that make a run what it is."""
    return {key: value for key, value in recipe.settings.items() if not is_bookkeeping(key)}


def check_folder(recipe: Recipe) -> None:
    """See whether the output folder is free, or this run's own. Changes nothing.

    Raises:
        ValueError: when it holds files of another run (naming the settings that differ) or of no run at all. A larger
            `max_steps` is no other run, see `why_not_longer`.
    """
    folder = Path(recipe.folder)
    if (folder.exists() or folder.is_symlink()) and not folder.is_dir():
        raise ValueError(f"{folder} is not a folder: give another output_dir.")
    if is_free(folder):
        return
    if not (folder / SETTINGS_FILE).is_file():
        raise ValueError(f"{folder} is not empty and not a run's folder: give another output_dir.")
    before, now = read_object(folder / SETTINGS_FILE), identity(recipe)
    before = {key: value for key, value in before.items() if not is_bookkeeping(key)}  # of older versions
    differing = [key for key in sorted({*before, *now}) if before.get(key) != now.get(key)]
    if not differing or recipe.data.overwrite or (CUT.issuperset(differing) and is_same_batch(recipe)):
        return
    longer = differing == ["max_steps"] and is_longer(before.get("max_steps"), now.get("max_steps"))
    obstacle = why_not_longer(recipe) if longer else ""
    if not longer or obstacle:
        listed = "; ".join(f"{key}: {before.get(key)!r} there, {now.get(key)!r} now" for key in differing)
        raise ValueError(
            f"{folder} holds another run ({listed}). {obstacle}"
            "Give another output_dir, or --overwrite true to delete it."
        )


def is_same_batch(recipe: Recipe) -> bool:
    """Whether a step has as many rows, or rollouts, as in the last checkpoint, whatever the number of processes."""
    checkpoint = last_complete(recipe.folder)
    if checkpoint is not None and recipe.stage != "rl":
        return makers_of(checkpoint).get("rows") == rows_of_step(recipe.training)
    if checkpoint is None or not state_file(checkpoint, 0).is_file():
        return False
    state = torch.load(state_file(checkpoint, 0), map_location="cpu", weights_only=True)
    return state.get("rows") == rows_of(recipe.training)


def is_free(folder: Path) -> bool:
    """Whether nothing lies in a folder, or only what a start that failed has left: no metrics, checkpoint or model."""
    names = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    torn = {name for name in names if name.startswith((f".{SETTINGS_FILE}.", f".{PAGE_FILE}."))}
    started = SETTINGS_FILE in names or torn or names == {LOCK}
    return not names or bool(started and names <= OF_A_START | torn)


def is_longer(before: Any, now: Any) -> bool:
    """Whether `max_steps` has become larger."""
    return isinstance(before, int) and isinstance(now, int) and 0 < before < now


def why_not_longer(recipe: Recipe) -> str:
    """Why the run in the output folder cannot go on to a larger `max_steps`, as a sentence; empty if it can."""
    training, folder = recipe.training, Path(recipe.folder)
    if training.lr_scheduler_type not in STEADY_SCHEDULES or 0 < training.warmup_steps < 1:
        return (
            "It could only go on for more steps if its learning rate did not depend on their number (lr_scheduler_type "
            f"{' or '.join(STEADY_SCHEDULES)}, warmup_steps not a share). "
        )
    if (folder / MARKER).is_file() and not last_complete(folder):
        return "It is complete and has left no checkpoint to go on from. "
    return ""


def is_trained(recipe: Recipe) -> bool:
    """Whether the output folder, which is this run's, holds all the steps asked for."""
    folder = Path(recipe.folder)
    if recipe.data.overwrite or not (folder / MARKER).is_file():
        return False
    return read_object(folder / SETTINGS_FILE).get("max_steps") == recipe.settings.get("max_steps")


def keeps_folder(recipe: Recipe) -> bool:
    """Whether this process looks after the output folder: one of all, or one of each machine that has its own."""
    state = PartialState()
    return state.is_local_main_process if recipe.training.save_on_each_node else state.is_main_process


def claim_folder(recipe: Recipe) -> None:
    """Make the output folder this run's own as long as this process lives; with `overwrite`, delete the run that it
    holds.

    Raises:
        ValueError: as `check_folder`, `hold` and `check_disks` do.
    """
    state, folder = PartialState(), Path(recipe.folder)
    if keeps_folder(recipe):
        check_folder(recipe)
        folder.mkdir(parents=True, exist_ok=True)
        hold(folder)
        check_folder(recipe)  # a run may have begun there meanwhile
        if recipe.data.overwrite:
            empty(folder)
        if is_free(folder):
            (folder / EVENTS_FILE).unlink(missing_ok=True)  # of a start that has made no step
        (folder / MARKER).unlink(missing_ok=True)  # of a run that goes on for more steps
        write_atomically(folder / SETTINGS_FILE, json.dumps(identity(recipe), indent=2) + "\n")
    state.wait_for_everyone()
    check_disks(recipe)


def check_disks(recipe: Recipe) -> None:
    """See whether the ranks share the disk of the output folder, by a file that one writes and all look for.

    Raises:
        ValueError: when `save_on_each_node` says otherwise, on every rank. Without it a machine that sees another disk
            would write parts of checkpoints that no start can read; with it machines would write over each other.
    """
    state, folder = PartialState(), Path(recipe.folder)
    (name,) = broadcast_object_list([f".{secrets.token_hex(8)}"])
    if state.is_main_process:
        (folder / name).touch()
    state.wait_for_everyone()
    seen: list[tuple[str, int, bool]] = gather_object(
        [(socket.gethostname(), state.local_process_index, (folder / name).exists())]
    )
    if state.is_main_process:
        (folder / name).unlink()
    own = sorted({f"{host} (rank {rank})" for rank, (host, _, sees) in enumerate(seen) if not sees})
    if own and strategy_of(recipe.training) == "fsdp":
        raise ValueError(
            f"{recipe.folder} is another folder on {', '.join(own)} than on rank 0's machine, and FSDP writes its "
            "checkpoints on one: give an output_dir on a disk that all machines see."
        )
    if own and not recipe.training.save_on_each_node:
        raise ValueError(
            f"{recipe.folder} is another folder on {', '.join(own)} than on rank 0's machine: there is no shared disk. "
            "Set save_on_each_node: true, or give an output_dir on a disk that all machines see."
        )
    machines = sum(local == 0 for _, local, _ in seen)
    if recipe.training.save_on_each_node and machines > 1 and not own:
        raise ValueError(
            f"save_on_each_node: true, and {recipe.folder} is on a disk that all machines see: they would write over "
            "each other's files. Remove it."
        )


def empty(folder: Path) -> None:
    """Delete what is in a folder but its lock. It may be a link or a mount point. What links in it lead to stays."""
    for path in folder.iterdir():
        if path.name == LOCK:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
