"""Run a command as a process that never outlives the sweep, or as a job of a cluster, with a log of its own.

Nothing heavy is imported: jobs of a cluster begin with this module.
"""

import shlex
import subprocess
import sys
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from concise_rl.sweep import keeper


@contextmanager
def process(command: list[str], log: Path, env: dict[str, str], lock: int) -> Generator[subprocess.Popen]:
    """Run a command that appends to its log, and ends when this process does, or with this context."""
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


class Command:
    """A command that a job runs. submitit asks it for what to submit again when the job runs out of time."""

    def __init__(self, command: Sequence[str], log: Path) -> None:
        self.command, self.log = list(command), log

    def __call__(self) -> int:
        """Run it, and return its exit status."""
        open_log(self.log, self.command)
        with self.log.open("ab") as file:
            return subprocess.run(
                self.command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, check=False
            ).returncode

    def checkpoint(self) -> Any:
        """Return what to submit again: the same."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)
