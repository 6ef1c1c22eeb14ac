"""Let one process at a time train in a folder."""

import fcntl
import logging
import time
from pathlib import Path
from typing import IO

logger = logging.getLogger(__name__)

LOCK = "_run.lock"
"""`push_to_hub` of transformers leaves out what begins with an underscore."""
PATIENCE = 100.0
"""Seconds to wait for a lock. A file server frees that of a machine that is gone after its lease, NFS after 90."""

_held: list[IO[str]] = []
"""Open as long as this process lives."""


def hold(folder: Path) -> None:
    """Keep other processes from training in a folder as long as this one lives, however it ends.

    The lock is one of POSIX: it holds across the machines of a file server, and the same process may take it again.

    Raises:
        ValueError: when another process has it.
    """
    file = (folder / LOCK).open("a")
    _held.append(file)
    waited_since = time.monotonic()
    while not _lock(file):
        waited = time.monotonic() - waited_since
        if waited >= PATIENCE:
            raise ValueError(
                f"Another process trains in {folder}: wait for it, stop it, or give another output_dir. "
                f"`concise-rl watch {folder}` shows what it does."
            )
        if waited < 1:
            logger.warning("Another process trains in %s: waiting for %.0f seconds.", folder, PATIENCE)
        time.sleep(1)


def _lock(file: IO[str]) -> bool:
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):  # as POSIX allows either
        return False
    except OSError as error:
        logger.warning("%s cannot be locked (%s): see that no other process trains there.", file.name, error)
    return True
