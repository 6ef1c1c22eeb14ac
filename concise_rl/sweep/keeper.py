"""Keep a training for its sweep, or for launch/nodes.py on another machine: when that is gone, however it went, the
training ends.

Run as a file with a command behind it: an import of the package would cost a second. Who started it holds the other end
of its standard input, and writes nothing but a word, whatever it is: then the training is to stop in order.
"""

import os
import re
import select
import signal
import subprocess
import sys
from pathlib import Path

AGAIN = 75
"""Exit code of a training that was stopped in order, see concise_rl/errors.py. accelerate makes 1 of it."""
GRACE = 40.0
"""Seconds from the request to end to the kill. accelerate itself waits 30 for its processes."""


def keep(command: list[str]) -> int:
    """Run a command until it ends, or until nobody holds the other end of the standard input. Returns its status."""
    # Descriptors go on to it: with one it holds the sweep's lock.
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, close_fds=False, start_new_session=True)
    stopped = False
    while child.poll() is None:
        readable, _, _ = select.select([sys.stdin], [], [], 0.2)
        if not readable:
            continue
        if os.read(sys.stdin.fileno(), 1024):
            stopped = True
            stop(child)
        else:
            end(child)
    return AGAIN if stopped and child.returncode else child.returncode


def stop(child: subprocess.Popen) -> None:
    """Send SIGUSR1 to those below a process that listen to it: the training's ranks, and not their launcher."""
    import psutil

    for process in psutil.Process(child.pid).children(recursive=True):
        status = Path(f"/proc/{process.pid}/status")
        caught = re.search(r"^SigCgt:\s*(\w+)", status.read_text() if status.exists() else "", re.MULTILINE)
        if caught and int(caught[1], 16) >> (signal.SIGUSR1 - 1) & 1:
            process.send_signal(signal.SIGUSR1)


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
