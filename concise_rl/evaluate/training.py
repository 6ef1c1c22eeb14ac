"""Keep how evaluated models were trained: their metrics, stored with the evaluation, whose report needs no other
folder."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from concise_rl.evaluate.evaluation import Evaluation
from concise_rl.evaluate.spec import Manifest
from concise_rl.files import METRICS_FILE, read_lines, write_atomically
from concise_rl.output.pages.curves import Panel, Series
from concise_rl.output.pages.palette import color_index

KEPT = ("correct/mean", "length/mean", "length/think")
"""What is kept of the metrics, see `concise_rl.train.metrics`."""
Curves = Mapping[str, Mapping[str, Sequence[float]]]
"""Name of a metric to its `steps` and `values`."""


def record_trainings(folder: Path, manifest: Manifest) -> None:
    """Keep the metrics of every model whose folder has them, in the evaluation's folder. What was kept stays there when
    the model's folder is gone.

    Args:
        folder: of the evaluation.
        manifest: its models. A checkpoint's metrics are its run's, up to its step.

    Raises:
        ValueError: for a damaged metrics file, see `read_lines`.
    """
    for run in manifest.runs:
        curves = read_metrics(Path(run.model))
        if curves:
            write_atomically(training_path(run.samples_path(folder)), json.dumps(curves) + "\n")


def training_path(samples: Path) -> Path:
    """Return where the curves lie that belong to a file of samples."""
    return samples.parent.parent / "training" / f"{samples.stem}.json"


def read_metrics(model: Path) -> dict[str, dict[str, list[float]]]:
    """Read the curves of a model's training, which may still go on; none for what was not trained in its folder.

    Raises:
        ValueError: for a damaged file, see `read_lines`.
    """
    checkpoint = re.fullmatch(r"checkpoint-(\d+)", model.name)
    path = (model.parent if checkpoint else model) / METRICS_FILE
    last = int(checkpoint[1]) if checkpoint else None
    rows = [row for row in read_lines(path) if "step" in row and (last is None or row["step"] <= last)]
    curves = {name: _curve(rows, name) for name in KEPT}
    return {name: curve for name, curve in curves.items() if curve["steps"]}


def _curve(rows: Sequence[Mapping[str, Any]], name: str) -> dict[str, list[float]]:
    """Return the values of a metric by step. Of a step that was made twice, by a run that was interrupted, the last
    counts."""
    values = {row["step"]: row[name] for row in rows if isinstance(row.get(name), int | float)}
    return {"steps": sorted(values), "values": [values[step] for step in sorted(values)]}


def training_panels(evaluation: Evaluation) -> list[Panel]:
    """Draw what is kept: accuracy and tokens of the rollouts. Nothing where no model has curves."""
    curves = [
        (color_index(i), run.title, json.loads(path.read_text()))
        for i, label in evaluation.numbered
        for run in label.runs
        if (path := training_path(evaluation.paths[run])).is_file()
    ]
    panels = [
        Panel("Right answers in training", _series(curves, "correct/mean"), "of the rollouts of a step", "percent"),
        Panel("Tokens in training", _series(curves, "length/mean"), "mean of the rollouts of a step", low=0.0),
    ]
    return [panel for panel in panels if panel.series]


def _series(curves: Sequence[tuple[int, str, Curves]], name: str) -> list[Series]:
    return [
        Series(title, of_run[name]["steps"], of_run[name]["values"], color)
        for color, title, of_run in curves
        if name in of_run
    ]
