"""Sampling: k completions of every problem by every model, written to files batch by batch, resumable at any point."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from itertools import groupby
from pathlib import Path

from datasets import Dataset

from concise_rl.data.rows import columns_read, keep_verifiable
from concise_rl.evaluate.drawing import Drawing, complete_samples
from concise_rl.evaluate.engines import EvalEngine, open_engine
from concise_rl.evaluate.exit_runs import check_exits, check_plans
from concise_rl.evaluate.labels import open_judge
from concise_rl.evaluate.progress import Progress
from concise_rl.evaluate.prompts import writer_of
from concise_rl.evaluate.rows import measured_rows
from concise_rl.evaluate.samples import cut_torn_line, read_samples
from concise_rl.evaluate.spec import EvalSpec, Manifest, Measurement, ModelRun, claim_folder, installed_versions
from concise_rl.evaluate.training import record_trainings
from concise_rl.labels.judges import judge_options
from concise_rl.verify.pool import VerifierPool

OpenEngine = Callable[[str, Measurement], AbstractContextManager[EvalEngine]]


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
        ValueError: when `out` holds another measurement, a file there is corrupt, the problems cannot be used, or one
            server is to sample several models, or for an unknown judge, prompt writer or exit, or option of one.
    """
    measurement = spec.measurement
    if measurement.judge is not None:
        judge_options(measurement.judge, measurement.judge_options)
    check_exits(spec)
    check_plans(spec)
    writer_of(measurement)  # says before a model is loaded that there is none, or that an option is wrong
    rows = measured_rows(measurement, _columns(measurement))
    with VerifierPool(measurement.verifier) as pool:
        rows, dropped = keep_verifiable(rows, pool)
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
        manifest = claim_folder(out, found, overwrite)
        for _, runs in groupby(spec.runs, key=lambda run: run.model):
            _sample_model(list(runs), rows, measurement, out, pool, load)
    record_trainings(out, manifest)
    return manifest


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


def _sample_model(
    runs: Sequence[ModelRun], rows: Dataset, measurement: Measurement, out: Path, pool: VerifierPool, load: OpenEngine
) -> None:
    """Draw what is missing of one model, under each of its exits. The engine is gone when this returns."""
    started = [(run, _progress_of(run, len(rows) * measurement.samples, run.samples_path(out))) for run in runs]
    if any(progress.missing for _, progress in started):
        with open_judge(measurement, rows[0], pool) as judge, load(runs[0].model, measurement) as engine:
            for run, progress in started:
                if progress.missing:
                    drawing = Drawing.of(engine, measurement, pool, judge, run.exit)
                    complete_samples(drawing, rows, run.samples_path(out), progress)
    for _, progress in started:
        progress.warn_if_truncated(measurement.max_tokens)


def _progress_of(run: ModelRun, total: int, path: Path) -> Progress:
    """Count what is there of a run."""
    cut_torn_line(path)
    progress = Progress(run.title, total)
    progress.add(read_samples(path))
    return progress
