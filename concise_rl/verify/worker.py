"""The worker process of a verifier pool: judges one item after another until the pool hangs up.

It is a fresh interpreter that imports the verifier and nothing else of weight; it dies with its parent, and the kernel
bounds its memory and, item by item, its processor time. The pool holds the clock.
"""

import json
import math
import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Mapping
from multiprocessing.connection import Connection
from typing import Any

from concise_rl.verify.verifiers import Verify, load_verifier

EXIT_MEMORY = 66
"""Exit status of a worker that ran out of memory."""

_FORBIDDEN = frozenset({"os", "subprocess", "pty", "shutil", "socket", "ctypes"})
_HARMLESS = frozenset({"os.listdir", "os.scandir"})


def _forbid(event: str, args: tuple[Any, ...]) -> None:
    """An audit hook against processes, changed files and the network: some scorers evaluate the model's text as Python.

    It stops accidents and the obvious; it is no sandbox.
    """
    writes = event == "open" and args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
    if writes or (event.partition(".")[0] in _FORBIDDEN and event not in _HARMLESS):
        raise PermissionError(f"a verifier may not do this: {event}")


def _set_limit(kind: int, amount: int) -> bool:
    """Lower a soft limit, within the hard one; the hard one stays, so that the next item may have more.

    Returns:
        Whether the system took it. macOS knows `RLIMIT_AS` and refuses each value of it.
    """
    hard = resource.getrlimit(kind)[1]
    try:
        resource.setrlimit(kind, (amount if hard == resource.RLIM_INFINITY else min(amount, hard), hard))
    except (ValueError, OSError):
        return False
    return True


def _set_limits(memory_mb: int) -> dict[str, str]:
    """Bound what this process may use. Returns a reply to the pool, with a warning where the system refuses."""
    _set_limit(resource.RLIMIT_CORE, 0)
    processor = _set_limit(resource.RLIMIT_CPU, resource.RLIM_INFINITY)
    memory = _set_limit(resource.RLIMIT_AS, memory_mb << 20)
    refused = [what for what, taken in (("memory", memory), ("processor time", processor)) if not taken]
    return {"warning": f"this system bounds no process's {' and '.join(refused)}"} if refused else {}


def _show_output(descriptor: int) -> None:
    """From now on, print where the pool's process prints; the pool keeps what came before."""
    sys.stdout.flush()
    sys.stderr.flush()
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)


def _die_with(parent: int) -> None:
    """Exit soon after the parent. A closed pipe says so only between two items."""
    while os.getppid() == parent:
        time.sleep(0.2)
    os._exit(1)


def _judge(verify: Verify, response: str, row: Mapping[str, Any]) -> dict[str, Any]:
    """One item's reply: `{"verdict": 1.0 | 0.0 | None}`, or `{"error": "ValueError: ..."}` when the verifier raised."""
    try:
        verdict = verify(response, row)
        score = math.nan if verdict is None else float(verdict)
    except MemoryError:
        os._exit(EXIT_MEMORY)
    except Exception as error:
        return {"error": f"{type(error).__name__}: {str(error)[:1000]}"}
    return {"verdict": float(score >= 1.0) if math.isfinite(score) else None}


def _send(connection: Connection, reply: dict[str, Any]) -> None:
    """Replies go as JSON: the pool does not unpickle what comes from a process that has read a model's text."""
    connection.send_bytes(json.dumps(reply).encode())


def serve(connection: Connection, output: int, path: str, trusted: bool, timeout_s: float, memory_mb: int) -> None:
    """Load the verifier, say so, then answer items `(response, row)` until the other end closes."""
    started = _set_limits(memory_mb)
    try:
        verify = load_verifier(path)
    except Exception as error:
        return _send(connection, {"error": f"{type(error).__name__}: {error}"})
    if not trusted:
        sys.addaudithook(_forbid)
    _show_output(output)
    _send(connection, started)
    while True:
        try:
            response, row = connection.recv()
        except (EOFError, ConnectionResetError):
            return None
        # The pool's clock strikes first. This one is for a worker whose pool is gone, in a loop that holds the GIL.
        _set_limit(resource.RLIMIT_CPU, math.ceil(time.process_time() + timeout_s) + 2)
        _send(connection, _judge(verify, response, row))


if __name__ == "__main__":
    descriptor, output, path, trusted, timeout_s, memory_mb, parent = sys.argv[1:]
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole process group; the pool tidies up
    threading.Thread(target=_die_with, args=(int(parent),), daemon=True).start()
    serve(Connection(int(descriptor)), int(output), path, trusted == "True", float(timeout_s), int(memory_mb))
