"""Checkpoint folders, by which a trainer hands its weights to a vLLM server."""

import json
import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from huggingface_hub import save_torch_state_dict
from safetensors import SafetensorError, safe_open
from torch import Tensor
from transformers import PretrainedConfig

from concise_rl.files import flush, flush_all, open_up

MARKER = "WEIGHTS_FOR_ENGINE"
"""File that tells these folders from all others: only what holds it is ever deleted."""


def write_weights(
    folder: Path, named_params: Iterable[tuple[str, Tensor]], config: PretrainedConfig, write: bool = True
) -> None:
    """Write a checkpoint that is complete whenever `folder` is there, whatever becomes of this process.

    Args:
        folder: an older one of this name is replaced.
        named_params: names as in the checkpoint. A tensor need only live until the next is asked for; one that comes
            under two names (tied weights) is written under both.
        config: of the model.
        write: False on the ranks that only take part in gathering the parameters: they consume the iterator, no more.

    Raises:
        OSError: when the disk is full, say; nothing is left behind.
    """
    if not write:
        for _ in named_params:
            pass
        return
    # A gathered or merged parameter is gone, or another one, as soon as the next is asked for.
    state = {name: param.detach().to("cpu", copy=True).contiguous() for name, param in named_params}
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir(parents=True)
        (partial / MARKER).touch()
        config.save_pretrained(partial)
        save_torch_state_dict(state, partial)
        open_up(partial)
        flush_all(partial)
        if folder.exists():
            shutil.rmtree(folder)
        os.replace(partial, folder)
        flush(folder.parent)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def check_complete(folder: Path) -> None:
    """Make sure that a checkpoint can be read: vLLM's engine ends when asked to load one that cannot.

    Raises:
        ValueError: naming what is missing or cut short.
    """
    index = folder / "model.safetensors.index.json"
    shards = ["model.safetensors"]
    if index.is_file():
        shards = sorted(set(json.loads(index.read_text())["weight_map"].values()))
    missing = [name for name in ("config.json", *shards) if not (folder / name).is_file()]
    if missing:
        raise ValueError(f"{folder} is no complete checkpoint, {', '.join(missing)} missing: write it again.")
    for name in shards:
        try:
            with safe_open(folder / name, framework="pt"):
                pass  # opening compares the header with the size of the file
        except SafetensorError as error:
            raise ValueError(f"{folder / name} cannot be read ({error}): write it again.") from error


def folder_of(parent: Path, step: int) -> Path:
    """Where the weights after a step are handed over."""
    return parent / f"step-{step}"


def drop_old(parent: Path, step: int, keep: int = 2) -> None:
    """Delete all but `keep` of the folders that `write_weights` has written in `parent`, and what it was stopped in.

    The step counts, not the time of the files: clocks are set back. Folders of later steps go, too: a run that went
    back to an older checkpoint makes them again.

    Args:
        parent: of the folders.
        step: whose weights the server has loaded. It may go back to them, and to those before while it loads.
        keep: how many stay, that of `step` included.
    """
    written = {path.parent for path in parent.glob(f"*/{MARKER}")}  # pathlib's * takes names that begin with a dot
    numbers = (path.name.removeprefix("step-") for path in written)
    steps = sorted(int(number) for number in numbers if number.isdigit() and int(number) <= step)
    for path in written - {folder_of(parent, at) for at in steps[-keep:]}:
        shutil.rmtree(path)
