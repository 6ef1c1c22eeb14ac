"""Hosts of their own addresses on this machine: network namespaces that are joined by a bridge. For tests, as root."""

import os
import signal
import subprocess
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).parents[2]
INTERFACE = "net0"
"""What joins the hosts, on each of them."""


@dataclass(frozen=True)
class Host:
    """One of them.

    Attributes:
        name: of its network namespace.
        address: that the others reach it at.
        port: of the bridge, which its cable ends in.
    """

    name: str
    address: str
    port: str

    def start(self, command: Sequence, log: Path, env: Mapping[str, str] | None = None) -> subprocess.Popen:
        """Start a command there, in a session of its own, which writes into a log."""
        network = {"GLOO_SOCKET_IFNAME": INTERFACE, "VLLM_HOST_IP": self.address}
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **network, **(env or {})}
        words = ["ip", "netns", "exec", self.name, *map(str, command)]
        with log.open("w") as file:
            return subprocess.Popen(words, env=environment, cwd=ROOT, stdout=file, stderr=file, start_new_session=True)


@dataclass(frozen=True)
class Network:
    """The hosts, and the bridge between them."""

    switch: str
    hosts: list[Host]

    def cut(self, host: Host) -> None:
        """Pull a host's cable out."""
        _ip("-n", self.switch, "link", "set", host.port, "down")

    def mend(self, host: Host) -> None:
        """Put it back."""
        _ip("-n", self.switch, "link", "set", host.port, "up")


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


@contextmanager
def network(count: int) -> Generator[Network]:
    """So many hosts; nothing of them is left afterwards. Skips the test where none can be made."""
    name = f"concise{os.getpid()}"
    hosts = [Host(f"{name}h{i}", f"10.77.0.{i}", f"port{i}") for i in range(1, count + 1)]
    made = Network(f"{name}s", hosts)
    try:
        _build(made)
    except FileNotFoundError as error:
        pytest.skip(f"no network namespaces here: iproute2 is not installed ({error})")
    except subprocess.CalledProcessError as error:
        _remove(made)
        pytest.skip(f"no network namespaces here, which only root may make: {error.stderr}")
    try:
        yield made
    finally:
        _remove(made)


def _build(made: Network) -> None:
    _ip("netns", "add", made.switch)
    _ip("-n", made.switch, "link", "add", "bridge", "type", "bridge")
    _ip("-n", made.switch, "link", "set", "bridge", "up")
    for host in made.hosts:
        _ip("netns", "add", host.name)
        ends = ("type", "veth", "peer", "name", host.port, "netns", made.switch)
        _ip("link", "add", INTERFACE, "netns", host.name, *ends)
        _ip("-n", host.name, "addr", "add", f"{host.address}/24", "dev", INTERFACE)
        for device in ("lo", INTERFACE):
            _ip("-n", host.name, "link", "set", device, "up")
        _ip("-n", made.switch, "link", "set", host.port, "master", "bridge", "up")


def _remove(made: Network) -> None:
    for name in (*(host.name for host in made.hosts), made.switch):
        left = subprocess.run(["ip", "netns", "pids", name], capture_output=True, text=True).stdout.split()
        kill([psutil.Process(int(pid)) for pid in left if psutil.pid_exists(int(pid))])
        subprocess.run(["ip", "netns", "del", name], capture_output=True)


def below(process: subprocess.Popen) -> list[psutil.Process]:
    """All that a process has started and that still runs, itself included."""
    try:
        top = psutil.Process(process.pid)
        return [p for p in (top, *top.children(recursive=True)) if p.status() != psutil.STATUS_ZOMBIE]
    except psutil.NoSuchProcess:
        return []


def kill(processes: Sequence[psutil.Process]) -> None:
    """Kill them, without a word to anybody."""
    for process in processes:
        try:
            process.send_signal(signal.SIGKILL)
        except psutil.NoSuchProcess:
            continue
