"""Train in jobs of a cluster, by submitit."""

import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from concise_rl.recipe.text import read_yaml
from concise_rl.sweep.jobs import POLL, Job, Start
from concise_rl.sweep.plan import Run
from concise_rl.sweep.process import Command
from concise_rl.sweep.record import Record

REQUEUES = 10
"""How often a job that has run out of time goes back into the queue, and on from its last checkpoint."""

ALIVE = ("PENDING", "RUNNING", "REQUEUED", "RESIZING", "SUSPENDED", "COMPLETING", "CONFIGURING")
"""Slurm's states of a job that has not ended."""


class ClusterJob:
    """A job of submitit, looked at as a process is."""

    def __init__(self, job: Any) -> None:
        self.job = job

    def poll(self) -> int | None:
        """Return the command's exit status, 1 where the job itself failed; None while it waits or runs."""
        if not self.job.done():
            return None
        return 1 if self.job.exception() is not None else self.job.result()

    def wait(self) -> int:
        """Wait for the exit status."""
        while (status := self.poll()) is None:
            time.sleep(POLL)
        return status


def read_options(words: Sequence[str]) -> dict[str, Any]:
    """Read `key=value` as submitit takes it; values are YAML.

    Raises:
        ValueError: for a word without `=`, and where submitit is not installed.
    """
    options = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not key:
            raise ValueError(f"--slurm {word}: give key=value, as timeout_min=600 slurm_partition=gpu gpus_per_node=8.")
        options[key] = read_yaml(value, f"--slurm {word}")
    return options


@dataclass(frozen=True)
class Cluster:
    """Say where jobs go.

    Attributes:
        executor: submitit's.
        options: what the user has said about the jobs.
    """

    executor: Any
    options: Mapping[str, Any]

    @classmethod
    def open(cls, folder: Path, words: Sequence[str]) -> "Cluster":
        """Find the cluster.

        Args:
            folder: for submitit's files.
            words: `key=value`, options of its `update_parameters`; `cluster=local` tries it out without a cluster.

        Raises:
            ValueError: where submitit is not installed, finds no cluster, or refuses an option.
        """
        options = read_options(words)
        try:
            import submitit
        except ImportError:
            raise ValueError('--slurm needs the package submitit: pip install "concise_rl[slurm]".') from None
        if not {"timeout_min", "slurm_time"} & {*options}:
            raise ValueError("--slurm: say how many minutes a run may take, timeout_min=600 say.")
        kind = options.pop("cluster", "slurm")
        more = {"slurm_max_num_timeout": REQUEUES} if kind == "slurm" else {}
        try:
            executor = submitit.AutoExecutor(folder, cluster=kind, **more)
            executor.update_parameters(**{"name": "concise_rl", **options})
        except (AssertionError, NameError, RuntimeError, ValueError) as error:
            raise ValueError(f"--slurm: {' '.join(str(error).split())}") from None
        return cls(executor, options)

    def submit(self, command: Command, gpus: int = 0) -> ClusterJob:
        """Put a command into the queue, with so many GPUs of a machine, unless the user has said how many."""
        if gpus and "gpus_per_node" not in self.options:
            self.executor.update_parameters(gpus_per_node=gpus)
        return ClusterJob(self.executor.submit(command))

    def find(self, number: str | None) -> ClusterJob | None:
        """Find a job that an earlier sweep has submitted, if it still waits or runs."""
        if number is None:
            return None
        job = self.executor._executor.job_class(self.executor.folder, number)
        return ClusterJob(job) if job.state in ALIVE else None


def cluster_start(cluster: Cluster, record: Record, out: Path) -> Start:
    """Start runs as jobs of a cluster. They go on when the sweep's own process ends, and are found again.

    Args:
        cluster: where they go.
        record: of the sweep, where the jobs' numbers are kept.
        out: the sweep's folder.
    """

    def start(run: Run, slot: int, stack: ExitStack) -> Job:
        state = record.runs[run.name]
        job = cluster.find(state.job) or cluster.submit(Command(run.command, run.log), run.launcher.gpus)
        state.job = str(job.job.job_id)
        record.write(out)
        return job

    return start
