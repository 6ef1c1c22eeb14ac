"""Verdicts on answers, from worker processes that can be killed.

A model writes what no verifier survives: towers of powers, a megabyte of fractions, code. Neither `signal.alarm` nor a
thread pool ends a long integer operation, so each item has a wall clock here, in the parent, and a process to lose.
A verdict that could not be had is None, never 0: a silent zero would be a wrong label.
"""

import json
import logging
import math
import os
import subprocess
import sys
import tempfile
import time
import weakref
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from typing import IO, Any, Self

from concise_rl.verify.verifiers import find_verifier
from concise_rl.verify.worker import EXIT_MEMORY

logger = logging.getLogger(__name__)

Item = tuple[str, Mapping[str, Any]]

START_LIMIT_S = 120.0
"""How long a worker may take to import its verifier. This does not count against an item."""
SIGNATURE = "def verify(response: str, row: dict) -> bool | float | None"
"""How a verifier is called, as messages say it."""
MIN_BROKEN = 8
"""A verifier that raises on each of a batch of at least this many items is broken."""
_EXIT_S = 5.0
"""How long a worker that hung up may take to exit by itself, with a status of its own."""
_LAST_WORDS = 500
"""Characters of a worker's last output that a message shows."""


@dataclass(eq=False)
class _Worker:
    """A worker process. `item` is what it judges now; it is idle without one, and still starting unless `ready`."""

    process: subprocess.Popen[bytes]
    connection: Connection
    output: IO[bytes]
    """What it prints until it is ready."""
    deadline: float
    ready: bool = False
    item: int | None = None


@dataclass
class _Batch:
    """The items of one call of `judge`, those that no worker has yet, and what has come back."""

    items: Sequence[Item]
    verdicts: list[float | None] = field(init=False)
    waiting: deque[int] = field(init=False)
    errors: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.verdicts = [None] * len(self.items)
        self.waiting = deque(range(len(self.items)))


def _discard(workers: list[_Worker], worker: _Worker) -> None:
    """Kill a worker and forget it."""
    workers.remove(worker)
    worker.connection.close()
    worker.output.close()
    worker.process.kill()
    worker.process.wait()


def _status(worker: _Worker) -> int:
    """The exit status of a worker that hung up, its own if it comes soon: it may still be tidying up."""
    try:
        return worker.process.wait(_EXIT_S)
    except subprocess.TimeoutExpired:
        worker.process.kill()
        return worker.process.wait()


def _printed(worker: _Worker) -> str:
    """What a worker printed before it was ready."""
    worker.output.seek(0)
    return worker.output.read().decode(errors="replace").strip()


def _last_words(worker: _Worker) -> str:
    """The end of that, as messages show it."""
    printed = _printed(worker)
    return f"Its last words: {printed[-_LAST_WORDS:]}" if printed else "It printed nothing."


def _discard_all(workers: list[_Worker]) -> None:
    for worker in list(workers):
        _discard(workers, worker)


class VerifierPool:
    """Worker processes around one verifier. They start at the first `judge`, and not more of them than it has items.

    Not safe for use by several threads at once.

    Attributes:
        name: the verifier.
        counters: `judged` items got a verdict and `correct` of them are right; the others are `abstained` (the verifier
            itself said None), `timeouts`, `crashes` (died or ran out of memory) and `errors` (the verifier raised).
    """

    def __init__(
        self,
        name: str,
        workers: int = 2,
        timeout_s: float = 10.0,
        memory_mb: int = 2048,
        refuse_copied: bool = False,
    ) -> None:
        """Set up, starting nothing yet.

        Args:
            name: one of `VERIFIERS`, or the dotted path of a function `verify(response, row)`.
            workers: how many processes judge side by side.
            timeout_s: wall clock for each item, in seconds; more where the verifier needs more.
            memory_mb: address space of each worker, in MiB.
            refuse_copied: a right answer that copies a formula of the problem in place of working it out is wrong.
                Known to `math` alone, where a row has its `problem` or `prompt`.

        Raises:
            ValueError: for an unknown name, giving the nearest valid one, and for limits that are not positive.
        """
        if workers < 1 or not timeout_s > 0 or memory_mb < 1:
            raise ValueError(f"{workers=}, {timeout_s=} and {memory_mb=} must be positive: they bound the verifier.")
        self.name = name
        self.reset_counters()
        self._verifier = find_verifier(name)
        self._path = (self._verifier.worked_out if refuse_copied else None) or self._verifier.path
        self._max_workers, self._memory_mb = workers, memory_mb
        self._timeout_s = max(timeout_s, self._verifier.timeout_s)
        self._workers: list[_Worker] = []
        self._warned: set[str] = set()
        weakref.finalize(self, _discard_all, self._workers)  # also at exit

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Kill the workers. A later `judge` starts new ones."""
        _discard_all(self._workers)

    def reset_counters(self) -> None:
        """Start counting from zero."""
        self.counters = Counter(judged=0, correct=0, abstained=0, timeouts=0, crashes=0, errors=0)

    def gold_response(self, row: Mapping[str, Any]) -> str:
        """The row's own answer, written as the verifier expects a response; empty where rows have tests instead."""
        return "" if self._verifier.gold is None else self._verifier.gold.replace("{answer}", row["answer"])

    @property
    def own_verdict(self) -> float:
        """The verdict that `gold_response` must get: that of an empty one is wrong."""
        return 0.0 if self._verifier.gold is None else 1.0

    @property
    def reads_values(self) -> bool:
        """Whether the verifier tells what sort of gold answer a text is; others take any text."""
        return self._verifier.kind_of_gold is not None

    def kind_of_gold(self, answer: str) -> str:
        """What sort of gold answer a text is, as messages say it; empty for one that needs no mention."""
        if not answer.strip():
            return "empty"
        return self._verifier.kind_of_gold(answer) if self._verifier.kind_of_gold else ""

    def judge(self, items: Sequence[Item]) -> list[float | None]:
        """Judge the answer parts of completions.

        Args:
            items: `(response, row)` pairs.

        Returns:
            In the order of `items`: 1.0 correct, 0.0 wrong, None where there is no verdict (see `counters`).

        Raises:
            ValueError: when the verifier cannot be loaded, or raises on every item of a batch of eight or more.
            RuntimeError: when a worker does not start.
        """
        batch = _Batch(items)
        try:
            while batch.waiting or any(worker.item is not None for worker in self._workers):
                self._step(batch)
        except BaseException:  # a worker left at its item would answer the next call with it
            self.close()
            raise
        if len(batch.errors) == len(items) >= MIN_BROKEN:
            raise ValueError(
                f"The verifier {self.name!r} raised on all of {len(items)} items: {batch.errors[0]}. It is called as "
                f"`{SIGNATURE}`, with the text after the thinking and the data row."
            )
        return batch.verdicts

    def _step(self, batch: _Batch) -> None:
        """Hand out what can be handed out, then wait for the next reply or the next deadline."""
        idle = sum(worker.item is None for worker in self._workers)
        for _ in range(min(self._max_workers - len(self._workers), len(batch.waiting) - idle)):
            self._workers.append(self._start())
        for worker in list(self._workers):
            if worker.ready and worker.item is None and batch.waiting:
                self._hand_out(worker, batch)
        patience = min((worker.deadline for worker in self._workers), default=0.0) - time.monotonic()
        readable = wait([worker.connection for worker in self._workers], max(0.0, patience))
        for worker in list(self._workers):
            if worker.connection in readable:
                self._receive(worker, batch)
            elif worker.deadline <= time.monotonic():
                self._expire(worker, batch)

    def _start(self) -> _Worker:
        """Start a fresh interpreter: `multiprocessing` would import the user's main module, and torch, in each one."""
        ours, theirs = Pipe()
        limits = (str(self._timeout_s), str(self._memory_mb))
        output, shown = tempfile.TemporaryFile(), os.dup(2)  # noqa: SIM115 -- `_discard` closes it
        verifier = (self._path, str(self._verifier.trusted))
        arguments = (str(theirs.fileno()), str(shown), *verifier, *limits, str(os.getpid()))
        # One thread each: a numerics library that starts one per core runs into the memory limit on large machines.
        one_thread = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        process = subprocess.Popen(
            [sys.executable, "-m", "concise_rl.verify.worker", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            pass_fds=[theirs.fileno(), shown],
            env={**os.environ, **one_thread, "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path)},
        )
        theirs.close()
        os.close(shown)
        return _Worker(process, ours, output, time.monotonic() + START_LIMIT_S)

    def _hand_out(self, worker: _Worker, batch: _Batch) -> None:
        try:
            worker.connection.send(batch.items[batch.waiting[0]])
        except OSError:  # it died while idle: the item goes to another
            _discard(self._workers, worker)
            return
        worker.item = batch.waiting.popleft()
        worker.deadline = time.monotonic() + self._timeout_s

    def _receive(self, worker: _Worker, batch: _Batch) -> None:
        """Take in a reply, or the death of the worker."""
        try:
            reply = json.loads(worker.connection.recv_bytes())
        except (EOFError, OSError):
            self._bury(worker, batch)
            return
        item, worker.item, worker.deadline = worker.item, None, math.inf
        if item is None:
            if "error" in reply:
                raise ValueError(f"The verifier {self.name!r} cannot be loaded as `{SIGNATURE}`: {reply['error']}")
            self._greet(worker, reply)
        elif "error" in reply:
            batch.errors.append(reply["error"])
            self._no_verdict(batch, item, "errors", f"the verifier raised {reply['error']}")
        else:
            self._record(batch, item, reply["verdict"])

    def _greet(self, worker: _Worker, reply: Mapping[str, str]) -> None:
        """A worker is ready. Show what it printed; warn, once, of a limit that its system does not know."""
        worker.ready = True
        sys.stderr.write(_printed(worker))
        warning = reply.get("warning")
        if warning and warning not in self._warned:
            self._warned.add(warning)
            logger.warning("%s: %s; its workers go on without that limit.", self.name, warning)

    def _record(self, batch: _Batch, item: int, verdict: float | None) -> None:
        batch.verdicts[item] = verdict
        self.counters["abstained" if verdict is None else "judged"] += 1
        self.counters["correct"] += verdict == 1.0

    def _bury(self, worker: _Worker, batch: _Batch) -> None:
        status, last_words = _status(worker), "" if worker.ready else _last_words(worker)
        _discard(self._workers, worker)
        cause = "its worker ran out of memory" if status == EXIT_MEMORY else f"its worker died with status {status}"
        if not worker.ready:
            raise RuntimeError(
                f"A worker of the verifier {self.name!r} died with status {status} before it was ready "
                f"(memory limit {self._memory_mb} MiB). {last_words}"
            )
        if worker.item is not None:
            self._no_verdict(batch, worker.item, "crashes", cause)

    def _expire(self, worker: _Worker, batch: _Batch) -> None:
        last_words = "" if worker.ready else _last_words(worker)
        _discard(self._workers, worker)
        if worker.item is None:
            raise RuntimeError(
                f"A worker of the verifier {self.name!r} was not ready after {START_LIMIT_S:g} s. {last_words}"
            )
        self._no_verdict(batch, worker.item, "timeouts", f"it took more than {self._timeout_s:g} s")

    def _no_verdict(self, batch: _Batch, item: int, counter: str, why: str) -> None:
        """Count an item without verdict; the first of each kind is logged."""
        self.counters[counter] += 1
        kind = why.partition(":")[0]
        if kind in self._warned:
            return
        self._warned.add(kind)
        message = "%s: no verdict on item %d, %s. Further cases are only counted. Response: %r"
        logger.warning(message, self.name, item, why, batch.items[item][0][:200])
