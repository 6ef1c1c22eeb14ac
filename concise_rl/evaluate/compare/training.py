"""How accuracy and tokens went over the training of each method: for `compare.json`, and as a table."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from concise_rl.evaluate import text
from concise_rl.evaluate.compare.grids import Cell, Grid, Row
from concise_rl.evaluate.compare.wording import seeds
from concise_rl.evaluate.curves import REACH, Curve, lowest, mean_curve, point, read_curve
from concise_rl.evaluate.evaluation import Evaluation, Label
from concise_rl.evaluate.training import training_path

Report = Mapping[str, Any]
NOTE = (
    f"Of the rollouts of the training, each step averaged with up to {REACH} before and after it, then over the seeds. "
    "Regained: last minus lowest, noise included. Methods that choose their problems, or end rollouts early, count "
    "others than the rest."
)


def stored_curves(evaluation: Evaluation, label: Label) -> list[tuple[str, Curve]]:
    """Read the curves of a label's runs that were logged, with the names of the runs."""
    paths = [(run.title, training_path(evaluation.paths[run])) for run in label.runs]
    read = [(title, read_curve(json.loads(path.read_text()))) for title, path in paths if path.is_file()]
    return [(title, curve) for title, curve in read if curve]


def describe_training(evaluation: Evaluation) -> list[dict[str, Any]]:
    """Say of each method whose training was logged how it went: by run, and on average over the steps of all runs."""
    found = []
    for label in evaluation.labels:
        runs = stored_curves(evaluation, label)
        mean = mean_curve([curve for _, curve in runs])
        if mean:
            every = [{"run": title, **describe_curve(curve)} for title, curve in runs]
            found.append({"label": label.name, "mean": describe_curve(mean), "runs": every})
    return found


def describe_curve(curve: Curve) -> dict[str, Any]:
    """Write a curve, with its first, last and least accurate step."""
    points = {"first": point(curve, 0), "lowest": lowest(curve), "last": point(curve, -1)}
    return {name: asdict(one) for name, one in points.items()} | {
        "steps": curve.steps_N.tolist(),
        "accuracy": curve.accuracy_N.tolist(),
        "tokens": curve.tokens_N.tolist(),
    }


def training_grid(report: Report) -> Grid | None:
    """Make a table of where accuracy was lowest, and whether it came back; None where no training was logged."""
    described = {one["label"]: one for one in report["training"]}
    rows = [
        Row(entry["label"], _cells(described[entry["label"]]), index, seeds(entry))
        for index, entry in text.numbered_entries(report)
        if entry["label"] in described
    ]
    heads = ("first", "lowest", "at step", "last", "regained", "tokens first", "at lowest", "last")
    title, ranges = "Accuracy over the training", "Small: the range of the seeds at that step."
    return Grid(title, NOTE, ranges, "model", heads, rows) if rows else None


def _cells(one: Mapping[str, Any]) -> list[Cell]:
    mean, runs = one["mean"], [*one["runs"]]
    regained = mean["last"]["accuracy"] - mean["lowest"]["accuracy"]
    return [
        _cell(mean, runs, "first", "accuracy"),
        _cell(mean, runs, "lowest", "accuracy"),
        Cell(str(mean["lowest"]["step"]), value=mean["lowest"]["step"]),
        _cell(mean, runs, "last", "accuracy"),
        Cell(text.points(regained), value=regained),
        *(_cell(mean, runs, place, "tokens") for place in ("first", "lowest", "last")),
    ]


WRITERS = {"accuracy": (text.percent, text.bare_percent), "tokens": (text.tokens, text.tokens)}
"""Of a number, and of the ends of its range."""


def _cell(mean: Mapping[str, Any], runs: Sequence[Mapping[str, Any]], place: str, name: str) -> Cell:
    """Write a number of the mean curve, with the range of the seeds at the same step."""
    write, write_end = WRITERS[name]
    every = [run[name][run["steps"].index(mean[place]["step"])] for run in runs]
    small = f"{write_end(min(every))} to {write_end(max(every))}" if len(every) > 1 else ""
    return Cell(write(mean[place][name]), small, mean[place][name])
