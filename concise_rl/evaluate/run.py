"""Sampling: k completions of every problem by every model, written to files batch by batch, resumable at any point."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from datasets import Dataset

from concise_rl.data.rows import columns_read, keep_verifiable
from concise_rl.evaluate.drawing import Drawing, complete_samples
from concise_rl.evaluate.engines import EvalEngine, open_engine
from concise_rl.evaluate.labels import open_judge
from concise_rl.evaluate.progress import Progress
from concise_rl.evaluate.prompts import writer_of
from concise_rl.evaluate.rows import measured_rows
from concise_rl.evaluate.samples import cut_torn_line, read_samples
from concise_rl.evaluate.claim import claim_folder
from concise_rl.evaluate.spec import EvalSpec, Manifest, Measurement, ModelRun, installed_versions
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
            server is to sample several models, or for an unknown judge or prompt writer, or option of one.
    """
    measurement = spec.measurement
    if measurement.judge is not None:
        judge_options(measurement.judge, measurement.judge_options)
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
        for run in spec.runs:
            _sample_run(run, rows, measurement, run.samples_path(out), pool, load)
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
    unfinished = [run.title for run in spec.runs if there[run] < total]
    if len(unfinished) > 1:
        raise ValueError(
            f"The server at {spec.measurement.engine} holds one model, and samples are missing of {len(unfinished)}: "
            f"{', '.join(unfinished)}. Give one of them alone; then serve the next, and add it to the same command."
        )


def _sample_run(
    run: ModelRun, rows: Dataset, measurement: Measurement, path: Path, pool: VerifierPool, load: OpenEngine
) -> None:
    """Draw what is missing of one model. The engine is gone when this returns."""
    cut_torn_line(path)
    progress = Progress(run.title, len(rows) * measurement.samples)
    progress.add(read_samples(path))
    if progress.missing:
        with open_judge(measurement, rows[0], pool) as judge, load(run.model, measurement) as engine:
            complete_samples(Drawing.of(engine, measurement, pool, judge), rows, path, progress)
    progress.warn_if_truncated(measurement.max_tokens)
