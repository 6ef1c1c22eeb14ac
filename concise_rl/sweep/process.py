"""A command as a process that never outlives the sweep, with a log of its own."""

import shlex
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from concise_rl.sweep import keeper


@contextmanager
def process(command: list[str], log: Path, env: dict[str, str], lock: int) -> Generator[subprocess.Popen]:
    """A command that appends to its log, and ends when this process does, or with this context."""
    open_log(log, command)
    with log.open("ab") as file:
        kept = subprocess.Popen(
            [sys.executable, keeper.__file__, *command],
            stdin=subprocess.PIPE,
            stdout=file,
            stderr=file,
            env=env,
            pass_fds=(lock,),
            start_new_session=True,  # Ctrl-C is this process's own
        )
    try:
        yield kept
    finally:
        assert kept.stdin is not None
        kept.stdin.close()  # the keeper ends the command
        kept.wait()


def open_log(log: Path, command: list[str]) -> None:
    """Head a new part of a log with the command and the time."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a") as file:
        file.write(f"# {time.strftime('%Y-%m-%d %H:%M:%S')}  {shlex.join(command)}\n")
