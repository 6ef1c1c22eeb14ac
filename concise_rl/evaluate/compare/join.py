"""Several evaluations as one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from concise_rl.evaluate.compare.folders import check_alike, read_folders
from concise_rl.evaluate.compare.labels import Part, group, parts_of, rename, split_baseline
from concise_rl.evaluate.evaluation import Evaluation, Label
from concise_rl.evaluate.spec import BASELINE, Manifest, ModelRun


@dataclass(frozen=True)
class Joined:
    """Several evaluations as one.

    Attributes:
        evaluation: of all labels.
        sources: the folders, in the order given.
        notes: what was decided about labels.
        warnings: what weakens the comparison.
    """

    evaluation: Evaluation
    sources: tuple[Path, ...]
    notes: tuple[str, ...]
    warnings: tuple[str, ...]


def join(
    folders: Sequence[Path], out: Path, labels: Sequence[tuple[str, str]] = (), baseline: str | None = None
) -> Joined:
    """Read finished evaluations as one.

    Args:
        folders: that `concise-rl eval` wrote.
        out: where the comparison is written.
        labels: (`DIR` or `DIR/LABEL`, new name) pairs.
        baseline: a label, or the folder whose baseline it is; None for the one that the folders share.

    Raises:
        ValueError: when a folder holds no finished evaluation, the folders were not measured alike, or a label or the
            baseline is not clear.
    """
    sources = read_folders(folders)
    notes, warnings = [], check_alike(sources)
    parts = rename([part for source in sources for part in parts_of(source)], labels)
    base, others = split_baseline(parts, baseline, notes, warnings)
    groups = group(others, notes)
    if not groups:
        raise ValueError("The baseline is all that these folders hold: give the evaluation of a method, too.")
    return Joined(_evaluation(out, groups, base), tuple(folders), tuple(notes), tuple(warnings))


def _evaluation(out: Path, groups: Mapping[str, Sequence[Part]], base: Part | None) -> Evaluation:
    """Make one evaluation of all methods, whose runs are numbered anew."""
    found = [_label(name, parts) for name, parts in groups.items()]
    labels, paths = tuple(label for label, _ in found), {run: path for _, own in found for run, path in own.items()}
    baseline = None
    if base is not None:
        baseline, own = _label(BASELINE if base.is_baseline else base.name, [base])
        paths |= own
    manifest = next(iter(groups.values()))[0].source.manifest
    merged = Manifest(
        measurement=manifest.measurement,
        models=tuple(run for label in labels for run in label.runs),
        baseline=baseline.runs[0] if baseline else None,
        num_problems=manifest.num_problems,
        num_dropped=manifest.num_dropped,
        versions=manifest.versions,
    )
    return Evaluation(out, merged, labels, baseline, paths)


def _label(name: str, parts: Sequence[Part]) -> tuple[Label, dict[ModelRun, Path]]:
    old = [(part.source, run) for part in parts for run in part.label.runs]
    runs = tuple(run.model_copy(update={"label": name, "run": i}) for i, (_, run) in enumerate(old))
    paths = {run: source.paths[before] for run, (source, before) in zip(runs, old, strict=True)}
    drawn = tuple(table for part in parts for table in part.label.drawn)
    tables = tuple(table for part in parts for table in part.label.tables)
    return Label(name, runs, drawn, tables), paths
