"""An evaluation's folder, read: the samples of every label as tables, and what is counted of them."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from concise_rl.evaluate.reproduce import eval_command
from concise_rl.evaluate.samples import Sample, read_samples
from concise_rl.evaluate.spec import Manifest, ModelRun, read_manifest
from concise_rl.evaluate.statistics import Table, pool, tabulate
from concise_rl.evaluate.vote import vote


@dataclass(frozen=True)
class Label:
    """The runs (training seeds) of one label.

    Attributes:
        name: of the label.
        runs: its models.
        drawn: the samples of each run.
        tables: what is counted of each run: the same, or questions that the samples answer together.
    """

    name: str
    runs: tuple[ModelRun, ...]
    drawn: tuple[Table, ...]
    tables: tuple[Table, ...]

    @cached_property
    def table(self) -> Table:
        """Return what is counted, all runs pooled."""
        return pool(self.tables)


@dataclass(frozen=True)
class Evaluation:
    """Hold what a folder holds.

    Attributes:
        folder: where it lies.
        manifest: what was measured.
        labels: of the models, in the order in which they were first given.
        baseline: what they are compared with.
        paths: of each run's samples.
    """

    folder: Path
    manifest: Manifest
    labels: tuple[Label, ...]
    baseline: Label | None
    paths: Mapping[ModelRun, Path]

    @property
    def numbered(self) -> list[tuple[int, Label]]:
        """Return the baseline as 0, if there is one, then the labels from 1 on: by these numbers pages and figures
        colour."""
        baseline = [(0, self.baseline)] if self.baseline else []
        return [*baseline, *enumerate(self.labels, start=1)]

    def find(self, run: ModelRun, problem: int, number: int) -> Sample:
        """Find one sample, whole."""
        samples = read_samples(self.paths[run])
        return next(sample for sample in samples if (sample.problem, sample.sample) == (problem, number))


def read_evaluation(folder: Path) -> Evaluation:
    """Read an evaluation's files.

    Raises:
        ValueError: when samples are missing (saying whose and how many), or a file is corrupt.
    """
    manifest = read_manifest(folder)
    tables = _read_tables(folder, manifest)
    keep = manifest.measurement.keep_shortest
    names = dict.fromkeys(run.label for run in manifest.models)
    labels = tuple(_label([run for run in manifest.models if run.label == name], tables, keep) for name in names)
    baseline = _label([manifest.baseline], tables, keep) if manifest.baseline else None
    return Evaluation(folder, manifest, labels, baseline, {run: run.samples_path(folder) for run in manifest.runs})


def _label(runs: Sequence[ModelRun], tables: Mapping[ModelRun, Table], keep: int | None) -> Label:
    drawn = tuple(tables[run] for run in runs)
    counted = drawn if keep is None else tuple(vote(table, keep) for table in drawn)
    return Label(runs[0].label, tuple(runs), drawn, counted)


def _read_tables(folder: Path, manifest: Manifest) -> dict[ModelRun, Table]:
    """Read every run's table; what is wrong with any of them is said at once."""
    tables, errors = {}, []
    for run in manifest.runs:
        path = run.samples_path(folder)
        try:
            tables[run] = tabulate(
                read_samples(path), manifest.num_problems, manifest.measurement.samples, f"{run.title} ({path})"
            )
        except ValueError as error:
            errors.append(str(error))
    if errors:
        if manifest.measurement.imported_from:
            raise ValueError(f"{' '.join(errors)} Import the log again, with --overwrite.")
        again = shlex.join(eval_command(manifest, str(folder)))
        raise ValueError(f"{' '.join(errors)} If no evaluation is running there, go on with: {again}")
    return tables
