"""A real vLLM server, started by the project's own command. For tests and benchmarks."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[1]


def free_port() -> int:
    """One that nobody listens at."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@dataclass
class Served:
    """A server in a process group of its own."""

    process: subprocess.Popen
    url: str

    def kill(self) -> None:
        """The server and all that it started."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def survivors(self) -> list[psutil.Process]:
        """What lives of it."""
        return [p for p in psutil.process_iter() if _group(p) == self.process.pid and p.status() != "zombie"]


def _group(process: psutil.Process) -> int | None:
    try:
        return os.getpgid(process.pid)
    except ProcessLookupError:
        return None


@contextmanager
def serving(model: str) -> Generator[Served]:
    """A server that is starting; who connects to it waits. Nothing of it is left afterwards."""
    port, log = free_port(), Path(tempfile.mkdtemp()) / "log"
    command = [sys.executable, "-m", "concise_rl.cli", "serve", model, "--port", str(port)]
    environment = {**os.environ, "VLLM_CPU_KVCACHE_SPACE": "1", "PYTHONPATH": str(ROOT)}
    with log.open("w") as file:
        process = subprocess.Popen(command, env=environment, stdout=file, stderr=file, start_new_session=True)
    server = Served(process, f"http://127.0.0.1:{port}")
    try:
        yield server
    finally:
        if process.poll() is None:
            server.kill()
        deadline = time.monotonic() + 10
        while server.survivors() and time.monotonic() < deadline:
            time.sleep(0.1)
        assert not server.survivors(), log.read_text()[-2000:]
