"""Lock a sweep's folder. The lock goes with the processes that hold it, however they end."""

import fcntl
import json
import os
import socket
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

LOCK = ".sweep.lock"
PATIENCE = 60.0
"""Seconds in which the training of a sweep that was killed has to end. Its keeper sees to it."""


@contextmanager
def locked(out: Path) -> Generator[int]:
    """Keep other sweeps out of a folder. The lock goes with the processes that hold it, however they end.

    Yields:
        A descriptor of the lock, for the trainings: as long as one of them runs, no other sweep begins.

    Raises:
        ValueError: when another sweep, or a training that it has left behind, is running there.
    """
    out.mkdir(parents=True, exist_ok=True)
    with open(out / LOCK, "a+") as file:
        _acquire(file, out)
        file.truncate(0)
        file.write(json.dumps({"pid": os.getpid(), "host": socket.gethostname()}))
        file.flush()
        yield file.fileno()


def _acquire(file: IO[str], out: Path) -> None:
    """Take the lock; wait for the training of a sweep that was killed, which its keeper ends."""
    began = time.monotonic()
    while not _lock(file):
        file.seek(0)
        owner = json.loads(file.read() or "{}")
        who = f"process {owner.get('pid', '?')} on {owner.get('host', '?')}"
        if _may_live(owner):
            raise ValueError(f"A sweep is running in {out} ({who}): wait for it, stop it, or give another --out.")
        if time.monotonic() - began > PATIENCE:
            raise ValueError(
                f"A training that a killed sweep has left behind still runs in {out}: end it first, "
                f"`pgrep -f {out}/runs` finds it."
            )
        time.sleep(0.2)


def _lock(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _may_live(owner: dict[str, Any]) -> bool:
    """Tell whether the owner of a lock is alive, as far as this machine can tell."""
    if owner.get("host") != socket.gethostname():
        return True
    try:
        os.kill(owner["pid"], 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's
        return True
    return True
