"""Evaluations on disk, for the tests of their comparison."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from concise_rl.evaluate.samples import Sample
from concise_rl.evaluate.spec import fingerprint
from tests.concise_rl.evaluate.fabric import sample, write_evaluation

PROBLEMS, SAMPLES = 12, 2


def drawn(length: int, right: Callable[[int, int], bool] = lambda p, k: True) -> list[Sample]:
    """Samples of 12 problems x 2, of three difficulties and about one length."""
    return [
        sample(p, k, int(right(p, k)), length + p, difficulty=p % 3, oracle_length=6)
        for p in range(PROBLEMS)
        for k in range(SAMPLES)
    ]


def evaluated(
    folder: Path, *models: tuple[str, Sequence[Sample]], baseline: Sequence[Sample] | None = None, **measurement: Any
) -> Path:
    """A finished evaluation whose models are this folder's own."""
    write_evaluation(folder, baseline, *models, problems=PROBLEMS, samples=SAMPLES, **measurement)
    manifest = json.loads((folder / "eval.json").read_text())
    for run in manifest["models"]:
        run["model"] = f"{folder}/{run['label']}-{run['run']}"
    (folder / "eval.json").write_text(json.dumps(manifest))
    return folder


def set_up(folder: Path, **changes: Any) -> None:
    """Change the record of an evaluation."""
    manifest = json.loads((folder / "eval.json").read_text())
    (folder / "eval.json").write_text(json.dumps(manifest | changes))


def trained(folder: Path, label: str, **recipe: Any) -> None:
    """Leave the model of a label beside its evaluation, with the recipe that made it."""
    model = folder / f"{label}-0"
    model.mkdir()
    (model / "config.json").write_text(json.dumps(recipe))
    (model / "recipe.json").write_text(json.dumps(recipe))
    manifest = json.loads((folder / "eval.json").read_text())
    for run in manifest["models"]:
        if run["model"] == str(model):
            run["fingerprint"] = fingerprint(str(model))
    set_up(folder, models=manifest["models"])
