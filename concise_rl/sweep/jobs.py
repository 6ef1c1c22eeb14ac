"""Run trainings as jobs: processes of this machine, as many at a time as it has room for, or jobs of a cluster."""

import os
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Protocol

from concise_rl.sweep.launch import environment
from concise_rl.sweep.plan import Run
from concise_rl.sweep.process import process

POLL = 0.5
"""Seconds between two looks at the jobs."""


class Job(Protocol):
    """A training that has been started."""

    def poll(self) -> int | None:
        """Return its exit status; None while it runs."""
        ...


class Watcher(Protocol):
    """Is told what happens."""

    def started(self, run: Run) -> None:
        """Hear that a run begins, or goes on."""
        ...

    def ended(self, run: Run, status: int) -> None:
        """Hear that a run has ended, well or not."""
        ...

    def looked(self, running: Sequence[Run]) -> None:
        """Hear that some time has passed."""
        ...


Start = Callable[[Run, int, ExitStack], Job]
"""Starts a run in a slot. What has to be done when the sweep ends goes on the stack."""


def train_all(runs: Sequence[Run], jobs: int, start: Start, watcher: Watcher) -> None:
    """Train runs in their order, some at a time. One that fails does not stop the others.

    Args:
        runs: not yet trained.
        jobs: how many at a time.
        start: starts one.
        watcher: is told of each, and records what came of it.
    """
    waiting, running = deque(runs), dict[int, tuple[Run, Job]]()
    with ExitStack() as stack:
        while waiting or running:
            for slot in [slot for slot in range(jobs) if slot not in running][: len(waiting)]:
                run = waiting.popleft()
                watcher.started(run)
                running[slot] = run, start(run, slot, stack)
            for slot, (run, job) in list(running.items()):
                status = job.poll()
                if status is not None:
                    del running[slot]
                    watcher.ended(run, status)
            watcher.looked([run for run, _ in running.values()])
            time.sleep(POLL if running else 0)


def local_start(jobs: int, lock: int) -> Start:
    """Start runs as processes of this machine.

    Args:
        jobs: how many will train at a time.
        lock: descriptor of the sweep's lock, which each training holds, too.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

    def start(run: Run, slot: int, stack: ExitStack) -> Job:
        own = environment(run.launcher.gpus, slot, jobs, cores, os.environ)
        return stack.enter_context(process(run.command, run.log, own, lock))

    return start
