"""A run over two hosts, its vLLM server on a third: what becomes of it when one of them goes, in the middle of a step.

Hosts are network namespaces (hosts.py) with gloo between them. The figures, seconds to the end of all ranks, are
printed: `pytest -rP tests/launch/test_two_hosts.py`.
"""

import importlib.util
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.concise_rl.train.test_resume import steps_of
from tests.launch.hosts import ROOT, Host, Network, below, kill, network

pytestmark = pytest.mark.slow
pytest.importorskip("deepspeed", reason="the extra deepspeed is not installed")
needs_vllm = pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vLLM is not installed")

LIMIT = 60
"""Seconds in which all ranks have to end."""
START = 900
"""Seconds that a run may take where other processes want the cores."""
SMALL: dict[str, Any] = {
    **{"max_steps": 4, "num_rows": 64, "per_device_train_batch_size": 8, "max_completion_length": 48},
    **{"save_steps": 1, "disable_tqdm": True, "page_every": 0, "record_steps": 0},
}


@dataclass
class Run:
    """A run on the first two hosts.

    Attributes:
        hosts: on which its two ranks are.
        folder: for its logs, its output, and for the second host's disk where that has its own.
        stage: of ZeRO.
        settings: beside those of all.
        own_disks: whether the second host sees another output folder than the first.
    """

    hosts: list[Host]
    folder: Path
    stage: int
    settings: dict[str, Any] = field(default_factory=dict)
    own_disks: bool = False
    ranks: list[subprocess.Popen] = field(default_factory=list)

    @property
    def output(self) -> Path:
        return self.folder / "run"

    def start(self) -> "Run":
        """Start its ranks, as launch/nodes.py does."""
        self.output.mkdir(parents=True, exist_ok=True)
        self.ranks = [host.start(self._command(rank), self.log(rank)) for rank, host in enumerate(self.hosts)]
        return self

    def _command(self, rank: int) -> list[str]:
        config = f"launch/deepspeed/zero{self.stage}.json"
        settings = {**SMALL, **self.settings, "output_dir": self.output}
        command = [
            *(sys.executable, "-m", "accelerate.commands.launch", "--config_file", "launch/accelerate/cpu_zero3.yaml"),
            *("--deepspeed_config_file", config, "--num_processes", "2", "--num_machines", "2"),
            *("--machine_rank", str(rank), "--main_process_ip", self.hosts[0].address, "--main_process_port", "29511"),
            *("-m", "concise_rl.train", "--config", "recipes/tiny/grpo_lambda.yaml"),
            *(word for key, value in settings.items() for word in (f"--{key}", str(value))),
        ]
        if not (self.own_disks and rank):
            return command
        disk = self.folder / "disk"
        disk.mkdir(exist_ok=True)
        return ["unshare", "-m", "bash", "-c", 'mount --bind "$0" "$1" && exec "${@:2}"', disk, self.output, *command]

    def log(self, rank: int) -> Path:
        return self.folder / f"log{rank}"

    def said(self, rank: int) -> str:
        """The one line that a rank ended with."""
        lines = [line for line in self.log(rank).read_text().splitlines() if line.startswith("error: ")]
        assert len(lines) == 1, self.log(rank).read_text()[-3000:]
        return lines[0]

    def wait_for_step(self, step: int) -> None:
        """Wait until the step after this one has begun."""
        deadline = time.monotonic() + START
        while not (self.output / f"checkpoint-{step}/COMPLETE").exists():
            assert time.monotonic() < deadline and all(rank.poll() is None for rank in self.ranks), self.tails()
            time.sleep(0.1)
        time.sleep(0.5)

    def seconds_to_the_end(self, limit: float) -> float:
        """Wait for all ranks; none of them may be left after so many seconds."""
        began = time.monotonic()
        while any(rank.poll() is None for rank in self.ranks) and time.monotonic() - began < limit:
            time.sleep(0.1)
        lasted = [rank for rank, process in enumerate(self.ranks) if process.poll() is None]
        for process in self.ranks:
            kill(below(process))
        assert not lasted, f"ranks {lasted} go on after {limit} s: {self.tails()}"
        return time.monotonic() - began

    def tails(self) -> str:
        return "\n".join(self.log(rank).read_text()[-3000:] for rank in range(2))

    def steps(self) -> list[dict[str, Any]]:
        return steps_of(self.output / "metrics.jsonl")

    def finish(self) -> "Run":
        """Start it, and let it make all its steps."""
        self.start().seconds_to_the_end(START)
        assert [rank.returncode for rank in self.ranks] == [0, 0], self.tails()
        return self

    def end_by(self, what: str, fault: Callable[[], None]) -> None:
        """Do something to it that has to end all ranks, soon and not well."""
        fault()
        seconds = self.seconds_to_the_end(LIMIT)
        print(f"{what}: all ranks had ended after {seconds:.1f} s")
        assert all(rank.returncode for rank in self.ranks)

    def kill_rank(self, rank: int) -> None:
        """Kill the process that trains, and not its launcher."""
        found = [p for p in below(self.ranks[rank]) if p.cmdline()[1:4] == ["-u", "-m", "concise_rl.train"]]
        assert len(found) == 1
        kill(found)


@pytest.fixture(scope="module")
def net() -> Generator[Network]:
    with network(3) as made:
        yield made


@pytest.fixture(scope="module")
def unbroken(net: Network, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return Run(net.hosts[:2], tmp_path_factory.mktemp("unbroken"), stage=2).finish()


def test_a_network_that_is_cut_ends_all_ranks_and_the_run_goes_on(net: Network, unbroken: Run, tmp_path: Path) -> None:
    run = Run(net.hosts[:2], tmp_path, stage=2).start()
    run.wait_for_step(2)
    run.end_by("network cut under ZeRO-2", lambda: net.cut(net.hosts[1]))
    net.mend(net.hosts[1])
    assert "Rank 1 on" in run.said(0) and "(10.77.0.2) has not answered" in run.said(0)
    assert "Rank 0 at 10.77.0.1 has not answered" in run.said(1)
    run.finish()
    assert "Resuming from" in run.log(0).read_text()
    assert run.steps() == unbroken.steps()


def test_machines_with_disks_of_their_own_go_on_after_a_kill(net: Network, unbroken: Run, tmp_path: Path) -> None:
    run = Run(net.hosts[:2], tmp_path, stage=2, own_disks=True)
    run.start().seconds_to_the_end(START)
    assert all(rank.returncode for rank in run.ranks)
    assert all("there is no shared disk. Set save_on_each_node: true" in run.said(rank) for rank in range(2))
    run.settings = {"save_on_each_node": True}
    run.start().wait_for_step(2)
    run.end_by("process killed under ZeRO-2", lambda: run.kill_rank(1))
    assert "(10.77.0.2) is gone: its process was killed" in run.said(0)
    run.finish()
    assert "Resuming from" in run.log(0).read_text()
    assert run.steps() == unbroken.steps()
    assert not list((tmp_path / "disk").glob("checkpoint-*/rollout_state_0.pt")), "the disks are not the same"


@pytest.fixture
def serve(net: Network, tmp_path: Path) -> Generator[Callable[[], subprocess.Popen]]:
    """Start a vLLM server on the third host."""
    host, started = net.hosts[2], []

    def start() -> subprocess.Popen:
        words = [sys.executable, "-m", "concise_rl.cli", "serve", "tiny:base", "--host", host.address]
        log = tmp_path / f"server{len(started)}"
        started.append(host.start(words, log, {"VLLM_CPU_KVCACHE_SPACE": "1", "PYTHONPATH": str(ROOT)}))
        return started[-1]

    yield start
    for server in started:
        kill(below(server))


@needs_vllm
def test_a_killed_process_and_a_stopped_server_end_all_ranks_and_the_run_goes_on(
    net: Network, serve: Callable[[], subprocess.Popen], tmp_path: Path
) -> None:
    url = f"http://{net.hosts[2].address}:8000"
    settings = {"use_vllm": True, "vllm_mode": "server", "vllm_server_base_url": url, "vllm_server_timeout": START}
    server = serve()
    whole = Run(net.hosts[:2], tmp_path / "whole", stage=3, settings=settings).finish()
    run = Run(net.hosts[:2], tmp_path / "broken", stage=3, settings=settings).start()
    run.wait_for_step(1)
    run.end_by("process killed under ZeRO-3", lambda: run.kill_rank(1))
    assert "(10.77.0.2) is gone: its process was killed" in run.said(0)
    run.start().wait_for_step(2)
    run.end_by("server stopped under ZeRO-3", lambda: kill(below(server)))
    assert all(f"The vLLM server at {url} is gone" in run.said(rank) for rank in range(2))
    serve()
    run.finish()
    for mine, theirs in zip(run.steps(), whole.steps(), strict=True):
        # A server adds up in an order that hangs on which requests it has at a time.
        for name in ("step", "loss", "grad_norm", "length/mean", "rewards/correct/mean"):
            assert mine[name] == pytest.approx(theirs[name], rel=1e-3, abs=1e-6), name
