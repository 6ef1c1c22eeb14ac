"""Sampling: k completions of every problem by every model, written to files batch by batch, resumable at any point."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from datasets import Dataset

from concise_rl.data.rows import columns_read, keep_verifiable
from concise_rl.evaluate.claim import claim_folder
from concise_rl.evaluate.drawing import Drawing, complete_samples
from concise_rl.evaluate.engines import EvalEngine, open_engine
from concise_rl.evaluate.exit_runs import check_exits
from concise_rl.evaluate.labels import open_judge
from concise_rl.evaluate.progress import Progress
from concise_rl.evaluate.prompts import writer_of
from concise_rl.evaluate.rows import measured_rows
from concise_rl.evaluate.samples import cut_torn_line, read_samples
from concise_rl.evaluate.spec import EvalSpec, Manifest, Measurement, ModelRun, installed_versions
from concise_rl.evaluate.training import record_trainings
from concise_rl.labels.judges import judge_options
from concise_rl.verify.pool import VerifierPool

OpenEngine = Callable[[str, Measurement], AbstractContextManager[EvalEngine]]


@dataclass(frozen=True)
class Prepared:
    """A task that is ready to be sampled.

    Attributes:
        measurement: of the task.
        out: its folder, which is claimed.
        rows: its problems, all of which the verifier can grade.
        pool: of that verifier.
        manifest: what the folder holds.
        name: of the task, where there are several.
    """

    measurement: Measurement
    out: Path
    rows: Dataset
    pool: VerifierPool
    manifest: Manifest
    name: str = ""

    def sample(self, runs: Sequence[ModelRun], load: OpenEngine) -> None:
        """Draw what is missing of one model under each of its exits, by an engine that is opened only if anything is.

        Args:
            runs: of that model.
            load: opens the engine.
        """
        how, started = self.measurement, [(run, self._progress(run)) for run in runs]
        if any(progress.missing for _, progress in started):
            with open_judge(how, self.rows[0], self.pool) as judge, load(runs[0].model, how) as engine:
                for run, progress in started:
                    if progress.missing:
                        drawing = Drawing.of(engine, how, self.pool, judge, run.exit)
                        complete_samples(drawing, self.rows, run.samples_path(self.out), progress)
        for _, progress in started:
            progress.warn_if_truncated(how.max_tokens)

    def _progress(self, run: ModelRun) -> Progress:
        """Count what is there of a run."""
        path, title = run.samples_path(self.out), " on ".join(filter(None, (run.title, self.name)))
        cut_torn_line(path)
        progress = Progress(title, len(self.rows) * self.measurement.samples)
        progress.add(read_samples(path))
        return progress


def by_model(runs: Sequence[ModelRun]) -> list[list[ModelRun]]:
    """Group runs that one engine draws, one after the other."""
    return [list(own) for _, own in groupby(runs, key=lambda run: run.model)]


def evaluate(spec: EvalSpec, out: Path, overwrite: bool = False, load: OpenEngine = open_engine) -> Manifest:
    """Sample every model of `spec` into `out`; what an earlier call has already written there is kept.

    Args:
        spec: what to evaluate.
        out: folder of this evaluation, made if need be.
        overwrite: delete the samples and reports in `out` first.
        load: opens the engine for a model's name under a measurement.

    Returns:
        What the folder holds.

    Raises:
        ValueError: see `prepare`; and when a file there is corrupt.
    """
    check_parts(spec)
    with VerifierPool(spec.measurement.verifier) as pool:
        task = prepare(spec, out, pool, overwrite)
        for runs in by_model(spec.runs):
            task.sample(runs, load)
    record_trainings(out, task.manifest)
    return task.manifest


def check_parts(spec: EvalSpec) -> None:
    """Say before anything is loaded that a judge, a prompt writer or an exit is unknown, or an option of one wrong.

    Raises:
        ValueError: when that is so.
    """
    measurement = spec.measurement
    if measurement.judge is not None:
        judge_options(measurement.judge, measurement.judge_options)
    check_exits(spec)
    writer_of(measurement)


def prepare(spec: EvalSpec, out: Path, pool: VerifierPool, overwrite: bool = False) -> Prepared:
    """Read the problems of an evaluation, and claim its folder.

    Args:
        spec: what to evaluate.
        out: folder of this evaluation, made if need be.
        pool: of the measurement's verifier.
        overwrite: delete the samples and reports in `out` first.

    Raises:
        ValueError: when `out` holds another measurement, the problems cannot be used, or one server is to sample
            several models.
    """
    measurement = spec.measurement
    rows, dropped = keep_verifiable(measured_rows(measurement, _columns(measurement)), pool)
    found = Manifest(
        measurement=measurement,
        models=spec.models,
        baseline=spec.baseline,
        num_problems=len(rows),
        num_dropped=dropped,
        versions=installed_versions(measurement.engine),
    )
    if measurement.is_served:
        _check_one_model(spec, out, len(rows) * measurement.samples, overwrite)
    return Prepared(measurement, out, rows, pool, claim_folder(out, found, overwrite))


def _columns(measurement: Measurement) -> set[str] | None:
    """Return the columns that are read beside prompt and answer; None for all: a prompt writer may read any."""
    judges = [measurement.judge] if measurement.judge else []
    columns = columns_read(measurement.verifier, *judges)
    return columns if measurement.prompts is None else None


def _check_one_model(spec: EvalSpec, out: Path, total: int, overwrite: bool) -> None:
    """Make sure that a server is asked for one model alone."""
    there = {run: 0 if overwrite else sum(1 for _ in read_samples(run.samples_path(out))) for run in spec.runs}
    unfinished = [run for run in spec.runs if there[run] < total]
    models = {run.model for run in unfinished}
    if len(models) > 1:
        raise ValueError(
            f"The server at {spec.measurement.engine} holds one model, and samples are missing of {len(models)}: "
            f"{', '.join(run.title for run in unfinished)}. "
            "Give one of them alone; then serve the next, and add it to the same command."
        )
