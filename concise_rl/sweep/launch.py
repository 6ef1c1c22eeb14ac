"""Find how a run is started: in one process, or by the accelerate command that its recipe's header names."""

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from concise_rl.recipe.fit.hardware import Gpus, find_launch, named_config
from concise_rl.recipe.text import read_text, read_yaml

_PROCESSES = re.compile(r"^#.*--num_processes[ =](\d+)", re.MULTILINE)


@dataclass(frozen=True)
class Launcher:
    """Say how a run is started.

    Attributes:
        words: the command, up to the module.
        processes: that train together.
        gpus: that they need; 0 on CPUs.
    """

    words: tuple[str, ...]
    processes: int
    gpus: int


def find_launcher(
    recipe: Path, settings: Mapping[str, Any], accelerate: str | None = None, elsewhere: bool = False
) -> Launcher:
    """Find how a recipe is started.

    Args:
        recipe: its file, whose header may name an accelerate configuration.
        settings: its keys, with those of the command line over them.
        accelerate: an accelerate configuration to take in place of the header's.
        elsewhere: whether another machine trains.

    Raises:
        ValueError: when a configuration is not there, or is for other hardware than the recipe.
    """
    on_cpu = bool(settings.get("use_cpu"))
    if on_cpu and not accelerate:
        return Launcher((sys.executable,), 1, 0)
    header = read_text(recipe)
    file = Path(accelerate) if accelerate else named_config(recipe)
    if file is None:
        has_gpu = elsewhere or torch.accelerator.is_available()
        return Launcher((sys.executable,), 1, 1 if has_gpu else 0)
    config = _read(file)
    named = None if accelerate else _PROCESSES.search(header)
    processes = int(named[1]) if named else int(config.get("num_processes") or 1)
    find_launch(Gpus(processes, 80), recipe, str(file))  # says what is wrong with it
    # Two launchers on a machine would both listen on accelerate's usual port.
    options = ("--config_file", str(file), "--num_processes", str(processes), "--main_process_port", "0")
    launch = (sys.executable, "-m", "accelerate.commands.launch", *options)
    return Launcher(launch, processes, 0 if on_cpu or config.get("use_cpu") else processes)


def _read(file: Path) -> dict[str, Any]:
    if not file.is_file():
        raise ValueError(f"No accelerate configuration at {file}.")
    config = read_yaml(read_text(file), str(file))
    return config if isinstance(config, dict) else {}


def check_devices(gpus: int, jobs: int) -> None:
    """
    Raises:
        ValueError: when this machine has fewer GPUs than the runs that train at a time need.
    """
    found = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if gpus * jobs > found:
        each = f"{jobs} runs at a time, {gpus} GPUs each" if jobs > 1 else f"A run with {gpus} GPUs"
        raise ValueError(
            f"{each}: this machine has {found}. Lower --jobs, give another --accelerate FILE, or --slurm key=value."
        )


def environment(gpus: int, slot: int, jobs: int, cores: int, inherited: Mapping[str, str]) -> dict[str, str]:
    """Make the environment of a run, so that runs that train at a time share the machine.

    Args:
        gpus: that it needs.
        slot: its place among the runs that train at a time, from 0.
        jobs: how many these are.
        cores: of the machine.
        inherited: the environment of the sweep.
    """
    own = {"OMP_NUM_THREADS": str(max(1, cores // jobs)), "TOKENIZERS_PARALLELISM": "false"} | dict(inherited)
    if gpus:
        visible = inherited.get("CUDA_VISIBLE_DEVICES") or ",".join(map(str, range(gpus * jobs)))
        own["CUDA_VISIBLE_DEVICES"] = ",".join(visible.split(",")[slot * gpus : (slot + 1) * gpus])
    return own
