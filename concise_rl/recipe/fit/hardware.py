"""GPUs as `--gpus` names them, and what an accelerate configuration makes of them."""

import json
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from concise_rl.recipe.fit.memory import GIB, Kind, Strategy
from concise_rl.recipe.text import read_text, read_yaml

USABLE = 79 / 80
"""Of a card sold as 80 GB, which is 80 GiB less what the driver keeps, CUDA leaves about 79 GiB. Others alike."""
ON_A_NODE = 8
_GPUS = re.compile(r"(?:(\d+)x)?(\d+)x(\d+(?:\.\d+)?)(?:GB|G)?", re.IGNORECASE)
_HARDWARE = re.compile(r"^# Hardware:\s*(?:(\d+) nodes of )?(\d+) GPUs? of (\d+) GB", re.MULTILINE)
_SERVERS = re.compile(r"^# Hardware:.*: (\d+) train, (\d+) run a vLLM server each", re.MULTILINE)
_CONFIG_FILE = re.compile(r"^#.*--config_file[ =](\S+)", re.MULTILINE)


@dataclass(frozen=True)
class Gpus:
    """GPUs of one kind, a training process on each.

    Attributes:
        count: of them.
        gigabytes: as they are sold: 80 for an H100 or A100 of 80 GB.
        on_node: of each machine, where that was said.
        servers: machines beside these whose GPUs run vLLM servers.
    """

    count: int
    gigabytes: float
    on_node: int | None = None
    servers: int = 0

    @classmethod
    def parse(cls, text: str) -> "Gpus":
        """`8x80`: eight cards that are sold with 80 GB each. `16x8x80`: as many on each of 16 machines.

        Raises:
            ValueError: for anything else.
        """
        found = _GPUS.fullmatch(text.strip())
        nodes, each, gigabytes = (found[1], int(found[2]), float(found[3])) if found else ("0", 0, 0.0)
        if each * gigabytes * int(nodes or 1) == 0:
            raise ValueError(
                f"--gpus {text}: give their number and the GB of each, as 8x80, 1x24 or 16x80, with the number of "
                "machines before that where there are several, as 16x8x80."
            )
        return cls(int(nodes or 1) * each, gigabytes, each if nodes else None)

    @classmethod
    def of_header(cls, recipe: str) -> "Gpus | None":
        """Those that the text of a recipe names: `# Hardware: 8 GPUs of 80 GB`, or `# Hardware: 16 nodes of 8 GPUs of
        80 GB (...): 8 train, 8 run a vLLM server each`."""
        found, shares = _HARDWARE.search(recipe), _SERVERS.search(recipe)
        if not found:
            return None
        nodes, each, gigabytes = found[1], int(found[2]), int(found[3])
        trainers, servers = (int(shares[1]), int(shares[2])) if shares else (int(nodes or 1), 0)
        return cls(trainers * each, gigabytes, each if nodes else None, servers)

    def shared_as(self, header: "Gpus | None") -> "Gpus":
        """Some of these machines taken for servers: the same share of them as in a recipe's header. Where no machines
        were named, all GPUs train.

        Raises:
            ValueError: when no machine would be left to train on.
        """
        if not header or not header.servers or self.on_node is None:
            return self
        servers = max(1, round(self.nodes * header.servers / (header.nodes + header.servers)))
        if servers >= self.nodes:
            raise ValueError("The recipe's rollouts come from vLLM servers on machines of their own: give two or more.")
        return replace(self, count=(self.nodes - servers) * self.on_node, servers=servers)

    @property
    def nodes(self) -> int:
        """Machines whose GPUs train."""
        return -(-self.count // (self.on_node or ON_A_NODE))

    @property
    def option(self) -> str:
        """All of them, as `--gpus` takes them."""
        nodes = f"{self.nodes + self.servers}x{self.on_node}" if self.on_node else self.count
        return f"{nodes}x{self.gigabytes:g}"

    @property
    def memory(self) -> float:
        """Bytes of each that a process can use."""
        return self.gigabytes * USABLE * GIB

    def __str__(self) -> str:
        nodes = f" on {self.nodes} nodes" if self.nodes > 1 else ""
        cards = f"{self.count} GPU{'s' if self.count > 1 else ''} of {self.gigabytes:g} GB{nodes}"
        beside = f" to train, {self.servers} more nodes for vLLM servers" if self.servers else ""
        return f"{cards}{beside}, {round(self.memory / GIB, 1):g} GiB usable on each"


@dataclass(frozen=True)
class Launch:
    """How the processes are started.

    Attributes:
        strategy: where the trainer's states lie.
        said: the strategy's name and who has named it.
    """

    strategy: Strategy
    said: str


NAMES: dict[Kind, str] = {
    "single": "one process",
    "ddp": "DDP",
    "zero1": "DeepSpeed ZeRO-1",
    "zero2": "DeepSpeed ZeRO-2",
    "zero3": "DeepSpeed ZeRO-3",
    "fsdp": "FSDP2",
}


def find_launch(gpus: Gpus, recipe: str | Path, accelerate: str | None = None) -> Launch:
    """The strategy of an accelerate configuration: the given one, else the one that the recipe's own command names.
    Without either one GPU has one process, and several have ZeRO-3.

    Args:
        gpus: how many processes.
        recipe: the recipe's file.
        accelerate: an accelerate configuration.

    Raises:
        ValueError: when it is not there, or is for another kind of machine.
    """
    if accelerate:
        return Launch(read_strategy(Path(accelerate), gpus.count), accelerate)
    file = named_config(Path(recipe))
    if file and gpus.count > 1:
        return Launch(read_strategy(file, gpus.count), f"{file}, which the recipe names")
    kind: Kind = "single" if gpus.count == 1 else "zero3"
    return Launch(Strategy(kind, gpus.count), "assumed, no accelerate configuration is named")


def named_config(recipe: Path) -> Path | None:
    """The accelerate configuration that a recipe's own command names; None where it names none, or it is not there."""
    named = _CONFIG_FILE.search(recipe.read_text(errors="replace"))
    return _find(named[1], recipe) if named else None


def _find(name: str, near: Path) -> Path | None:
    """A file as it is called in the root of the repository: from here, or from a folder above another file."""
    folders = [Path(), *near.resolve().parents]
    return next((folder / name for folder in folders if (folder / name).is_file()), None)


def read_strategy(file: Path, processes: int) -> Strategy:
    """The strategy of an accelerate configuration.

    Raises:
        ValueError: when it is not there, no such configuration, or starts one process where there are several GPUs.
    """
    if not file.is_file():
        raise ValueError(f"No accelerate configuration at {file}.")
    config = read_yaml(read_text(file), str(file))
    if not isinstance(config, dict) or "distributed_type" not in config:
        raise ValueError(f"{file} is no accelerate configuration: it names no distributed_type.")
    kind = str(config["distributed_type"]).upper()
    if kind == "DEEPSPEED":
        return _of_deepspeed(file, config.get("deepspeed_config") or {}, processes)
    if kind == "FSDP":
        offload = bool((config.get("fsdp_config") or {}).get("fsdp_offload_params"))
        return Strategy("fsdp", processes, offload, offload)
    if kind not in ("MULTI_GPU", "NO", "FALSE"):  # YAML reads a bare NO as false
        raise ValueError(f"{file}: distributed_type {kind} is none of DEEPSPEED, FSDP, MULTI_GPU and NO.")
    if kind != "MULTI_GPU" and processes > 1:
        raise ValueError(f"{file} starts one process, for one GPU: give launch/accelerate/zero3.yaml, say.")
    return Strategy("ddp" if processes > 1 else "single", processes)


def _of_deepspeed(file: Path, config: dict[str, Any], processes: int) -> Strategy:
    """DeepSpeed's stage and offloading, from accelerate's own keys, or the JSON file that they name: there `auto` means
    accelerate's."""
    named, zero = config.get("deepspeed_config_file"), {"stage": config.get("zero_stage", 2)}
    if named is not None:
        found = _find(named, file)
        if found is None:
            raise ValueError(f"{file} names {named}, which is not there.")
        zero = json.loads(found.read_text()).get("zero_optimization") or {}
    stage: Any = zero.get("stage", 0)
    kinds: dict[Any, Kind] = {1: "zero1", 2: "zero2", 3: "zero3"}
    if stage not in kinds:
        raise ValueError(f"{file}: ZeRO stage {stage} is none of 1, 2 and 3.")
    optimizer, weights = (_is_offloaded(part, zero, config) for part in ("offload_optimizer", "offload_param"))
    return Strategy(kinds[stage], processes, optimizer, weights)


def _is_offloaded(part: str, zero: dict[str, Any], config: dict[str, Any]) -> bool:
    """Whether DeepSpeed keeps a part in the machine's memory."""
    device = (zero.get(part) or {}).get("device", "none" if "deepspeed_config_file" in config else "auto")
    device = config.get(f"{part}_device") if device == "auto" else device
    return str(device or "none") != "none"
