"""A process in which programs of a model run, apart from the one that knows what they should print.

What it protects from, on Linux: programs that never end, that take all memory, that print without end, or crash. Where
the system permits user namespaces they have no network, and nothing that they start outlives their test. A hook of the
interpreter refuses processes, sockets, and files other than Python's own.

What it does not: the hook can be got round by who sets out to, through memory of the interpreter, and then the program
may do what the user may: read files, and where namespaces are not permitted, reach the network. As root the number of
processes is not bounded. On macOS there are no namespaces and no bound on memory. Programs of a model that is not
trusted belong into a container or a virtual machine besides.
"""

import json
import os
import select
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

PROGRAM = Path(__file__).with_name("program.py")
START_S, SLACK_S = 30.0, 5.0
"""How long the process may take to start, and to reply beyond a test's own time."""
MEMORY_MB, OUTPUT_BYTES, PROCESSES = 2048, 16 << 20, 64
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


class Outcome(NamedTuple):
    """What became of a program on one input."""

    status: int | None
    """Its exit status; None where it did not end in time."""
    output: str
    """What it printed, or what its function returned, as JSON."""


class Sandbox:
    """One program, run on one input after another. A context manager: what runs is killed at its end.

    Attributes:
        isolated: whether it has no network and processes of its own namespace.
    """

    def __init__(self, code: str, function: str | None, seconds: float) -> None:
        """Start the process.

        Args:
            code: of the program.
            function: to call with the values on the lines of an input; None for a program that reads stdin.
            seconds: wall clock for each input.

        Raises:
            RuntimeError: when the process does not start.
        """
        limits = {"seconds": seconds, "memory_mb": MEMORY_MB, "output_bytes": OUTPUT_BYTES, "processes": PROCESSES}
        self._seconds = seconds
        self._folder = tempfile.TemporaryDirectory(prefix="program-")
        self._process = subprocess.Popen(
            [sys.executable, "-I", str(PROGRAM)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=self._folder.name,
            env={"PATH": os.defpath, "HOME": self._folder.name, "TMPDIR": self._folder.name, **_ONE_THREAD},
            start_new_session=True,
        )
        self._pending = b""
        reply = self._ask({"code": code, "function": function, "limits": limits}, START_S)
        if reply is None:
            self.close()
            raise RuntimeError("the sandbox for programs does not start on this system")
        self.isolated: bool = reply["isolated"]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Kill what runs."""
        self._process.kill()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()
        self._process.wait()
        self._folder.cleanup()

    def run(self, text: str) -> Outcome:
        """Run the program on one input. A program that ends the sandbox itself has failed, too."""
        reply = self._ask(text, self._seconds + SLACK_S)
        return Outcome(1, "") if reply is None else Outcome(reply["status"], reply["output"])

    def _ask(self, request: object, seconds: float) -> dict | None:
        """Send a line and wait for the reply; None where none comes."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            return None
        return self._reply(time.monotonic() + seconds)

    def _reply(self, end: float) -> dict | None:
        assert self._process.stdout is not None
        descriptor = self._process.stdout.fileno()
        while b"\n" not in self._pending:
            ready, _, _ = select.select([descriptor], [], [], max(0.0, end - time.monotonic()))
            part = os.read(descriptor, 1 << 16) if ready else b""
            if not part:
                return None
            self._pending += part
        line, _, self._pending = self._pending.partition(b"\n")
        return json.loads(line)
