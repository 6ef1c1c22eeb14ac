"""Servers that a command starts for itself, one for each device, and stops when it ends."""

import ctypes
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import torch

from concise_rl.errors import EngineError
from concise_rl.rollout.engines.http import Http

logger = logging.getLogger(__name__)

START_LIMIT_S = 3600.0
"""How long servers may take to load a model. One that ends while it starts is noticed at once."""
END_LIMIT_S = 20.0
"""How long a server may take to end before it is killed."""
DIE_WITH_PARENT = 1
"""PR_SET_PDEATHSIG of Linux."""


@contextmanager
def started_servers(model: str, number: int, flags: Sequence[str]) -> Generator[list[str]]:
    """Start servers of a model, and stop them at the end: also after an error, Ctrl-C, or the death of this process.

    Args:
        model: as `concise-rl serve` takes it.
        number: of servers. On GPUs each has one of its own; on CPU they share the cores.
        flags: for vLLM.

    Yields:
        Their URLs, once all of them answer.

    Raises:
        ValueError: when there are fewer GPUs.
        EngineError: when one ends before it answers.
    """
    environments = environments_of(number)
    logs = Path(tempfile.mkdtemp(prefix="concise-rl-serve-"))
    logger.info("Starting %d servers of %s; their logs are in %s.", number, model, logs)
    with ExitStack() as stack:
        urls, processes = [], []
        for i, environment in enumerate(environments):
            port = _free_port()
            command = [sys.executable, "-m", "concise_rl.cli", "serve", "--port", str(port), model, *flags]
            processes.append(stack.enter_context(_running(command, environment, logs / f"{i}.log")))
            urls.append(f"http://127.0.0.1:{port}")
        _wait_until_healthy(urls, processes, logs)
        try:
            yield urls
        except EngineError as error:
            raise EngineError(f"{error} The logs of the servers are in {logs}.") from error
    shutil.rmtree(logs)


def environments_of(number: int) -> list[dict[str, str]]:
    """Return the environment of each server.

    Raises:
        ValueError: when there are fewer GPUs than servers.
    """
    if not torch.cuda.is_available():
        threads = str(max(1, (os.cpu_count() or 1) // number))
        return [{"OMP_NUM_THREADS": threads, **os.environ}] * number
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    devices = given.split(",") if given else [str(i) for i in range(torch.cuda.device_count())]
    if number > len(devices):
        raise ValueError(f"{number} servers need a GPU each, and there are {len(devices)}: lower --data-parallel.")
    return [{**os.environ, "CUDA_VISIBLE_DEVICES": device} for device in devices[:number]]


@contextmanager
def _running(command: list[str], environment: dict[str, str], log: Path) -> Generator[subprocess.Popen[bytes]]:
    """A process, and its children, while the context is open."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C reaches this process alone, which then ends the server
            preexec_fn=_die_with_parent,
        )
    try:
        yield process
    finally:
        _end(process)


def _die_with_parent() -> None:
    """Have the kernel end this process when its parent is killed. Where there is no such call, it goes on."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(DIE_WITH_PARENT, signal.SIGTERM)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a process and all that it started."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGTERM)
        deadline = time.monotonic() + END_LIMIT_S
        while process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
    if _group_lives(process.pid):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _group_lives(group: int) -> bool:
    """Whether any process of the group is there."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def _wait_until_healthy(urls: Sequence[str], processes: Sequence[subprocess.Popen[bytes]], logs: Path) -> None:
    """
    Raises:
        EngineError: when a server has ended, or does not answer in `START_LIMIT_S`.
    """
    deadline = time.monotonic() + START_LIMIT_S
    waiting = {i: Http(url, START_LIMIT_S) for i, url in enumerate(urls)}
    while waiting:
        for i in [*waiting]:
            if processes[i].poll() is not None or time.monotonic() > deadline:
                raise EngineError(
                    f"A vLLM server does not start: {_last_line(logs / f'{i}.log')} Its log: {logs}/{i}.log."
                )
            if waiting[i].problem() is None:
                waiting.pop(i).client.close()
        time.sleep(0.2)


def _last_line(log: Path) -> str:
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return f"{lines[-1].rstrip('.')}." if lines else "it said nothing."


def _free_port() -> int:
    """One that nobody listens at."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]
