"""The process that a sandbox keeps: it runs a program on one input after another, each time in a fork of its own.

It is started as a script by `concise_rl.verify.sandbox`, imports the standard library alone, and never sees what a test
expects. Requests and replies are lines of JSON. `concise_rl.verify.sandbox` says what all of this protects from.
"""

import contextlib
import ctypes
import importlib
import io
import json
import math
import os
import re
import resource
import signal
import sys
import tempfile
import threading
import time
from typing import Any

_PRELUDE = (
    *("string", "re", "datetime", "collections", "heapq", "bisect", "copy", "math", "random", "statistics"),
    *("itertools", "functools", "operator", "io", "sys", "json", "builtins", "typing"),
)
"""Modules that programs of LiveCodeBench find imported, with all of their names (lcb_runner/evaluation)."""
_NEW_USER, _NEW_PROCESSES, _NEW_NETWORK, _NEW_IPC = 0x10000000, 0x20000000, 0x40000000, 0x08000000
_DIE_WITH_PARENT = 1
_FORBIDDEN = ("subprocess.", "socket.", "ctypes.", "pty.", "shutil.", "ftplib.", "http.", "urllib.", "tempfile.")
_FORBIDDEN_OF_OS = frozenset(
    (
        *("fork", "forkpty", "exec", "posix_spawn", "spawn", "system", "kill", "killpg", "putenv", "unsetenv"),
        *("remove", "rename", "rmdir", "mkdir", "link", "symlink", "truncate", "chmod", "chown", "chflags", "lchmod"),
        *("lchown", "utime", "setxattr", "removexattr", "chdir", "fchdir"),
    )
)
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_RECURSION = 50_000
_RESULT = 3
"""Descriptor for the value of a called function."""


def _forbid(event: str, args: tuple[Any, ...]) -> None:
    """An audit hook: no processes, no network, no files but those of Python itself."""
    if event == "open":
        path, _, flags = args
        if not isinstance(path, int) and (flags & _WRITES or not _is_pythons(os.fsdecode(path))):
            raise PermissionError(f"a program may not open {path!r}")
    elif event.startswith(_FORBIDDEN) or (event.removeprefix("os.") in _FORBIDDEN_OF_OS and event.startswith("os.")):
        raise PermissionError(f"a program may not do this: {event}")


def _is_pythons(path: str) -> bool:
    roots = (sys.prefix, sys.base_prefix, os.path.dirname(os.__file__))
    return path in ("/dev/null", "/dev/urandom") or os.path.realpath(path).startswith(
        tuple(os.path.realpath(root) + os.sep for root in roots)
    )


def _die_with_parent() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)


def _isolate() -> bool:
    """Go on as the first process of a namespace without a network, where the system permits it.

    Returns:
        Whether it does.
    """
    if sys.platform != "linux":
        return False
    if ctypes.CDLL(None).unshare(_NEW_USER | _NEW_PROCESSES | _NEW_NETWORK | _NEW_IPC) != 0:
        return False
    inner = os.fork()
    if inner:  # ends as the inner one does, and takes it along when it is killed
        os._exit(os.waitstatus_to_exitcode(os.waitpid(inner, 0)[1]) & 255)
    _die_with_parent()
    return True


def _limit(kind: int, amount: int) -> None:
    hard = resource.getrlimit(kind)[1]
    value = amount if hard == resource.RLIM_INFINITY else min(amount, hard)
    with contextlib.suppress(ValueError, OSError):  # macOS refuses some
        resource.setrlimit(kind, (value, value))


def _set_limits(limits: dict[str, Any], isolated: bool) -> None:
    _limit(resource.RLIMIT_CPU, math.ceil(limits["seconds"]) + 1)
    _limit(resource.RLIMIT_AS, limits["memory_mb"] << 20)
    _limit(resource.RLIMIT_FSIZE, limits["output_bytes"])
    _limit(resource.RLIMIT_NOFILE, 64)
    _limit(resource.RLIMIT_CORE, 0)
    if isolated and _counts_by_namespace():  # elsewhere it counts all processes of the user
        _limit(resource.RLIMIT_NPROC, limits["processes"])


def _counts_by_namespace() -> bool:
    """Whether the kernel bounds the processes of a user in each namespace apart, as Linux does since 5.14."""
    found = re.match(r"(\d+)\.(\d+)", os.uname().release)
    return found is not None and (int(found[1]), int(found[2])) >= (5, 14)


def _names() -> dict[str, Any]:
    """What a program finds defined."""
    names: dict[str, Any] = {"__name__": "__main__"}
    for name in _PRELUDE:
        module = importlib.import_module(name)
        public = getattr(module, "__all__", [key for key in vars(module) if not key.startswith("_")])
        names |= {key: getattr(module, key) for key in public}
    return names | {name: sys.modules[name] for name in _PRELUDE}


def _call(names: dict[str, Any], function: str, text: str) -> Any:
    """Call a function, or a method of the class `Solution`, with an argument from each line."""
    arguments = [json.loads(line) for line in text.split("\n") if line.strip()]
    owner = names["Solution"]() if "Solution" in names else None
    return (names[function] if owner is None else getattr(owner, function))(*arguments)


def _run(request: dict[str, Any], text: str, given: int, told: int, isolated: bool) -> None:
    """Run the program in this fork, which ends here: status 0 where it came to its end."""
    os.setsid()
    _take_over(given, told, bool(request["function"]))
    names = _names()
    sys.setrecursionlimit(_RECURSION)
    _die_with_parent()
    _set_limits(request["limits"], isolated)
    sys.addaudithook(_forbid)
    with contextlib.suppress(BaseException):
        status = _finish(request, names, text)
        for thread in threading.enumerate():
            if thread is not threading.current_thread() and not thread.daemon:
                thread.join()
        sys.stdout.flush()  # fails where it has printed more than it may
        os._exit(status)
    os._exit(1)


def _take_over(given: int, told: int, is_called: bool) -> None:
    """Connect stdin, stdout and where the value of a called function goes; close all else."""
    nowhere, result = os.open(os.devnull, os.O_RDWR), os.dup(told)
    for number, end in enumerate((given, nowhere if is_called else told, nowhere)):
        os.dup2(end, number)
    os.dup2(result, _RESULT)
    os.closerange(_RESULT + 1, 256)
    sys.stdin = io.TextIOWrapper(io.BufferedReader(io.FileIO(0, closefd=False)), encoding="utf-8")
    sys.stdout = io.TextIOWrapper(io.BufferedWriter(io.FileIO(1, "w", closefd=False)), encoding="utf-8")


def _finish(request: dict[str, Any], names: dict[str, Any], text: str) -> int:
    """Run the program to its end, and call its function where it has one. Returns the exit status."""
    try:
        exec(compile(request["code"], "program.py", "exec"), names)
        if request["function"]:
            os.write(_RESULT, json.dumps(_call(names, request["function"], text)).encode())
    except SystemExit:
        return 1 if request["function"] else 0
    return 0


def _wait(child: int, seconds: float) -> int | None:
    """The exit status of a child; None where it does not end in time."""
    end, pause = time.monotonic() + seconds, 0.0005
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(pause)
        pause = min(0.02, pause * 1.5)
    return None


def _end(child: int, isolated: bool) -> None:
    """Kill whatever a program has left behind."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(-1, signal.SIGKILL) if isolated else os.killpg(child, signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):
        while True:
            os.waitpid(-1, 0)


def _answer(request: dict[str, Any], text: str, isolated: bool) -> dict[str, Any]:
    """Run the program on one input."""
    limits = request["limits"]
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as told:
        given.write(b"" if request["function"] else text.encode())
        given.seek(0)
        child = os.fork()
        if child == 0:
            _run(request, text, given.fileno(), told.fileno(), isolated)
        status = _wait(child, limits["seconds"])
        _end(child, isolated)
        told.seek(0)
        output = told.read(limits["output_bytes"]).decode(errors="replace") if status == 0 else ""
    return {"status": status, "output": output}


def main() -> None:
    """Read the program, say that all is ready, then answer inputs until there are no more."""
    _die_with_parent()
    isolated = _isolate()
    request = json.loads(sys.stdin.buffer.readline())
    _names()  # imported once, here
    if "numpy" in request["code"]:  # which needs ctypes while it is imported
        with contextlib.suppress(ImportError):
            importlib.import_module("numpy")
    print(json.dumps({"isolated": isolated}), flush=True)
    for line in sys.stdin.buffer:
        print(json.dumps(_answer(request, json.loads(line), isolated)), flush=True)


if __name__ == "__main__":
    main()
