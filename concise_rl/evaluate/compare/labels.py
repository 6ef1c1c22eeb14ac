"""Decide which labels of several evaluations are one method, and what all are compared with.

Different models under one label, in several folders, are pooled as training seeds of one method in two cases alone: a
`--label` gives that name, or their recipes are recorded beside them and differ in the seed alone. All others are told
apart by the names of their folders. One model that was measured several times is used once.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from concise_rl.errors import unknown
from concise_rl.evaluate.evaluation import Evaluation, Label
from concise_rl.evaluate.spec import BASELINE, LABEL, ModelRun, as_label, fingerprint
from concise_rl.files import SETTINGS_FILE, read_object


@dataclass(frozen=True)
class Part:
    """One label of one folder.

    Attributes:
        source: the evaluation that it is from.
        label: its runs and their tables.
        name: what the comparison calls it.
        named: whether a `--label` gave that name.
        is_baseline: whether its folder was compared with it.
    """

    source: Evaluation
    label: Label
    name: str
    named: bool = False
    is_baseline: bool = False

    @property
    def identities(self) -> tuple[str, ...]:
        """Return what tells its models from others: hashes of their weights, or names where there is nothing to
        hash. One model under two exits is two."""
        named = [(run.fingerprint or run.model, run.exit) for run in self.label.runs]
        return tuple(f"{model} with exit {own_exit}" if own_exit else model for model, own_exit in named)


def parts_of(source: Evaluation) -> list[Part]:
    """List the labels of a folder; its baseline goes by the name of its model."""
    methods = [Part(source, label, label.name) for label in source.labels]
    if source.baseline is None:
        return methods
    name = as_label(Path(source.baseline.runs[0].model).name)
    return [Part(source, source.baseline, name, is_baseline=True), *methods]


def rename(parts: Sequence[Part], labels: Sequence[tuple[str, str]]) -> list[Part]:
    """Give parts the names that a user gives them.

    Args:
        parts: of all folders.
        labels: (place, name) pairs; a place is `DIR/LABEL`, or `DIR` where that folder has one label.

    Raises:
        ValueError: for a name that cannot be one, or a place that is not there.
    """
    names: dict[str, str] = {}
    places = {place for part in parts for place in _places(part)}
    for given, name in labels:
        place = str(Path(given))
        if not re.fullmatch(LABEL, name):
            raise ValueError(f"{name!r} cannot be a label: use letters, digits and . _ + - only.")
        if place not in places:
            raise unknown("place of --label", given, places)
        names[place] = name
    chosen = [[names[place] for place in _places(part) if place in names] for part in parts]
    return [replace(p, name=own[0], named=True) if own else p for p, own in zip(parts, chosen, strict=True)]


def _places(part: Part) -> list[str]:
    """List what a user can name it by."""
    if part.is_baseline:
        return []
    alone = [str(part.source.folder)] if len(part.source.labels) == 1 else []
    return [str(part.source.folder / part.label.name), *alone]


def split_baseline(
    parts: Sequence[Part], wanted: str | None, notes: list[str], warnings: list[str]
) -> tuple[Part | None, list[Part]]:
    """Find what all are compared with.

    Args:
        parts: of all folders.
        wanted: a label, or the folder whose baseline it is; None for the one that the folders share.
        notes, warnings: what is found is added to them.

    Returns:
        The baseline, and all others. The baseline's own samples in other folders are left out; other baselines stay.

    Raises:
        ValueError: when the folders have several and none is chosen, or the chosen one is not there.
    """
    base = _baseline_of(parts, wanted)
    if base is None:
        return None, list(parts)
    repeats = [part for part in parts if part is not base and part.identities == base.identities]
    for part in repeats:
        if not part.is_baseline:
            notes.append(f"{part.name} in {part.source.folder} is the baseline: it is not shown a second time.")
        if not _same_samples(part, base):
            warnings.append(
                f"{base.source.folder} and {part.source.folder} hold different samples of the baseline, though the "
                f"model is the same. Those in {base.source.folder} are used."
            )
    return base, [part for part in parts if part.identities != base.identities]


def _same_samples(one: Part, two: Part) -> bool:
    pairs = zip(one.label.drawn, two.label.drawn, strict=True)
    return all(np.array_equal(a.length_PK, b.length_PK) for a, b in pairs)


def _baseline_of(parts: Sequence[Part], wanted: str | None) -> Part | None:
    own = [part for part in parts if part.is_baseline]
    if wanted is None:
        if len({part.identities for part in own}) > 1:
            each = ", ".join(f"{part.label.runs[0].model} in {part.source.folder}" for part in own)
            raise ValueError(f"The folders have different baselines: {each}. Choose one: --baseline DIR.")
        return own[0] if own else None
    found = [part for part in parts if part.name == wanted]
    found = found or [part for part in own if wanted == BASELINE or part.source.folder == Path(wanted)]
    if not found:
        folders = [str(part.source.folder) for part in own]
        raise unknown("baseline", wanted, [*(part.name for part in parts), *folders])
    if len({part.identities for part in found}) > 1:
        raise ValueError(f"Several models are called {wanted!r}. Rename one: --label DIR=NAME --baseline NAME.")
    return found[0]


def group(parts: Sequence[Part], notes: list[str]) -> dict[str, list[Part]]:
    """Group the parts of each method, by the name that it gets. What is decided about names is added to `notes`.

    Raises:
        ValueError: when two methods would get one name.
    """
    groups: dict[str, list[Part]] = {}
    for name in dict.fromkeys(part.name for part in parts):
        same = _without_repeats([part for part in parts if part.name == name], notes)
        for own_name, own in _named(name, same, notes).items():
            if own_name in groups:
                raise ValueError(f"Two methods would be called {own_name!r}. Rename one: --label DIR=NAME.")
            groups[own_name] = own
    return groups


def _named(name: str, same: list[Part], notes: list[str]) -> dict[str, list[Part]]:
    """Take parts of one name as one method, or each under a name of its own."""
    if len(same) == 1 or any(part.named for part in same):
        return {name: same}
    folders = " and ".join(str(part.source.folder) for part in same)
    if _are_seeds([run for part in same for run in part.label.runs]):
        notes.append(f"{name} in {folders} is one method: the recipes differ in the seed alone.")
        return {name: same}
    apart = _tell_apart(name, [part.source.folder for part in same])
    pooling = " ".join(f"--label {part.source.folder / part.label.name}={name}" for part in same)
    notes.append(
        f"{name} in {folders} may be different methods: they are shown as {', '.join(apart)}. If they are training "
        f"seeds of one method: {pooling}"
    )
    return {own_name: [part] for own_name, part in zip(apart, same, strict=True)}


def _without_repeats(parts: Sequence[Part], notes: list[str]) -> list[Part]:
    """Keep each model of a name once."""
    kept: list[Part] = []
    for part in parts:
        seen = {identity for other in kept for identity in other.identities}
        new = [i for i, identity in enumerate(part.identities) if identity not in seen]
        if len(new) < len(part.identities) and not part.is_baseline:
            notes.append(f"{part.name} in {part.source.folder} was measured in another folder, too: it is used once.")
        if new:
            kept.append(replace(part, label=_runs_of(part.label, new)))
    return kept


def _runs_of(label: Label, chosen: Sequence[int]) -> Label:
    return Label(
        label.name,
        tuple(label.runs[i] for i in chosen),
        tuple(label.drawn[i] for i in chosen),
        tuple(label.tables[i] for i in chosen),
    )


def _are_seeds(runs: Sequence[ModelRun]) -> bool:
    """Say whether the recorded recipes of all models are there, and differ in the seed alone."""
    recipes = [_recipe_of(run) for run in runs]
    if any(recipe is None for recipe in recipes):
        return False
    seeds = {json.dumps(recipe.pop("seed", None)) for recipe in recipes if recipe}
    return len(seeds) == len(runs) and all(recipe == recipes[0] for recipe in recipes)


def _recipe_of(run: ModelRun) -> dict[str, object] | None:
    """Read the recipe recorded beside a model; None where there is none, or the model has been trained anew since."""
    path = Path(run.model) / SETTINGS_FILE
    if not path.is_file() or fingerprint(run.model) != run.fingerprint:
        return None
    return read_object(path)


def _tell_apart(name: str, folders: Sequence[Path]) -> list[str]:
    """Put behind the name that part of each folder's path in which the paths differ; else a number."""
    paths = [tuple(reversed(folder.resolve().parts)) for folder in folders]
    for level in zip(*paths, strict=False):
        if len(set(map(as_label, level))) == len(folders):
            return [f"{name}-{as_label(part)}" for part in level]
    return [f"{name}-{number}" for number in range(1, len(folders) + 1)]
