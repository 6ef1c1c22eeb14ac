"""Finished evaluations, read, and whether they were measured alike."""

from collections.abc import Sequence
from pathlib import Path

from concise_rl.evaluate.evaluation import Evaluation, read_evaluation
from concise_rl.evaluate.spec import MANIFEST
from concise_rl.evaluate.statistics import check_comparable


def read_folders(folders: Sequence[Path]) -> list[Evaluation]:
    """Read folders that `concise-rl eval` wrote.

    Raises:
        ValueError: with a line for each folder that cannot be used.
    """
    if not folders:
        raise ValueError("There is nothing to compare: give folders that `concise-rl eval` wrote.")
    places = [folder.resolve() for folder in folders]
    twice = [folder for i, folder in enumerate(folders) if places[i] in places[:i]]
    if twice:
        raise ValueError(f"{twice[0]} is given twice.")
    found, errors = [], []
    for folder in folders:
        try:
            found.append(_read(folder))
        except ValueError as error:
            errors.append(str(error))
    if errors:
        raise ValueError("\n".join(errors))
    return found


def _read(folder: Path) -> Evaluation:
    inside = sorted(path.parent for path in folder.glob(f"*/{MANIFEST}"))
    if inside and not (folder / MANIFEST).is_file():
        raise ValueError(
            f"{folder} holds no {MANIFEST}, but folders in it do: concise-rl compare {' '.join(map(str, inside))}"
        )
    return read_evaluation(folder)


def check_alike(sources: Sequence[Evaluation]) -> list[str]:
    """Compare how each folder was measured with how the first one was.

    Returns:
        Warnings: what differs, though it need not matter.

    Raises:
        ValueError: for another measurement or other problems, with a line for each such folder.
    """
    first, *others = sources
    errors = [error for other in others for error in _obstacles(first, other)]
    if errors:
        raise ValueError("\n".join(errors))
    return [warning for other in others for warning in _other_versions(first, other)]


def _obstacles(first: Evaluation, other: Evaluation) -> list[str]:
    one, two = first.manifest.measurement, other.manifest.measurement
    differing = [f"{name} ({getattr(one, name)!r} and {getattr(two, name)!r})" for name in one.differing_fields(two)]
    if differing:
        return [
            f"{first.folder} and {other.folder} were not measured alike: {', '.join(differing)}. Evaluate one of them "
            "again with the settings of the other."
        ]
    try:
        check_comparable(first.labels[0].drawn[0], other.labels[0].drawn[0])
    except ValueError as error:
        return [f"{first.folder} and {other.folder} cannot be compared. {error}"]
    return []


def _other_versions(first: Evaluation, other: Evaluation) -> list[str]:
    one, two = first.manifest.versions, other.manifest.versions
    names = [name for name in {**one, **two} if one.get(name) != two.get(name)]
    if not names:
        return []
    differing = ", ".join(f"{name} {one.get(name, 'none')} and {two.get(name, 'none')}" for name in names)
    return [f"{first.folder} and {other.folder} were sampled with different versions: {differing}."]
