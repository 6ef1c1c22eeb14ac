"""Keep a training for its sweep: when the sweep is gone, however it went, the training ends.

Run as a file with a command behind it: an import of the package would cost a second. The sweep holds the other end of
its standard input, and writes nothing.
"""

import os
import select
import signal
import subprocess
import sys

GRACE = 40.0
"""Seconds from the request to end to the kill. accelerate itself waits 30 for its processes."""


def keep(command: list[str]) -> int:
    """Run a command until it ends, or until nobody holds the other end of the standard input. Returns its status."""
    # Descriptors go on to it: with one it holds the sweep's lock.
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, close_fds=False, start_new_session=True)
    while child.poll() is None:
        readable, _, _ = select.select([sys.stdin], [], [], 0.2)
        if readable and not os.read(sys.stdin.fileno(), 1):
            end(child)
    return child.returncode


def end(child: subprocess.Popen) -> None:
    """End a process and what it has started, which is given time to tidy up."""
    os.killpg(child.pid, signal.SIGTERM)
    try:
        child.wait(GRACE)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()


if __name__ == "__main__":
    status = keep(sys.argv[1:])
    sys.exit(status if status >= 0 else 128 - status)
