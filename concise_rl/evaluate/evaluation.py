"""An evaluation's folder, read: the samples of every label as tables."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from concise_rl.evaluate.samples import Sample, read_samples
from concise_rl.evaluate.spec import Manifest, ModelRun, read_manifest
from concise_rl.evaluate.statistics import Table, pool, tabulate


@dataclass(frozen=True)
class Label:
    """The runs (training seeds) of one label, and their samples."""

    name: str
    runs: tuple[ModelRun, ...]
    tables: tuple[Table, ...]

    @cached_property
    def table(self) -> Table:
        """All runs, pooled."""
        return pool(self.tables)


@dataclass(frozen=True)
class Evaluation:
    """What a folder holds.

    Attributes:
        folder: where it lies.
        manifest: what was measured.
        labels: of the models, in the order in which they were first given.
        baseline: what they are compared with.
    """

    folder: Path
    manifest: Manifest
    labels: tuple[Label, ...]
    baseline: Label | None

    def find(self, run: ModelRun, problem: int, number: int) -> Sample:
        """One sample, whole."""
        samples = read_samples(run.samples_path(self.folder))
        return next(sample for sample in samples if (sample.problem, sample.sample) == (problem, number))


def read_evaluation(folder: Path) -> Evaluation:
    """Read an evaluation's files.

    Raises:
        ValueError: when samples are missing (saying whose and how many), or a file is corrupt.
    """
    manifest = read_manifest(folder)
    tables = _read_tables(folder, manifest)
    names = dict.fromkeys(run.label for run in manifest.models)
    labels = tuple(_label(name, manifest.models, tables) for name in names)
    baseline = _label(manifest.baseline.label, (manifest.baseline,), tables) if manifest.baseline else None
    return Evaluation(folder, manifest, labels, baseline)


def _label(name: str, runs: tuple[ModelRun, ...], tables: dict[ModelRun, Table]) -> Label:
    own = tuple(run for run in runs if run.label == name)
    return Label(name, own, tuple(tables[run] for run in own))


def _read_tables(folder: Path, manifest: Manifest) -> dict[ModelRun, Table]:
    """Every run's table; what is wrong with any of them is said at once."""
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
        raise ValueError("\n".join(errors) + "\nThe same `concise-rl eval` again draws what is missing.")
    return tables
