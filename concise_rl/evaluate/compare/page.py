"""The comparison as one HTML page without any outside resource, as JSON and as PNG: functions of the samples alone."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from concise_rl.evaluate import text
from concise_rl.evaluate.compare import examples as side_by_side
from concise_rl.evaluate.compare import wording
from concise_rl.evaluate.compare.columns import shown_columns
from concise_rl.evaluate.compare.contrasts import contrast_grids
from concise_rl.evaluate.compare.difficulty import difficulty_grids
from concise_rl.evaluate.compare.figures import draw_difficulties, draw_panels, draw_pareto, page_svg
from concise_rl.evaluate.compare.training import training_grid
from concise_rl.evaluate.compare.training_figure import draw_training
from concise_rl.evaluate.evaluation import Evaluation
from concise_rl.evaluate.plots import png
from concise_rl.evaluate.training import training_panels
from concise_rl.files import write_atomically
from concise_rl.output.pages import write_page
from concise_rl.output.pages.curves import panel_data
from concise_rl.output.pages.palette import color_index
from concise_rl.output.pages.samples import VERDICT_MARKS, VERDICT_TONES

Report = Mapping[str, Any]
CAPTIONS = {
    "pareto": (
        "Accuracy against tokens",
        "Up and to the left is better. The line is the Pareto front; its models are outlined. The arms of a cross "
        "are 95 % intervals; faint points are single training seeds.",
    ),
    "near_the_front": ("The short end", "The models with the fewest tokens, on a finer scale."),
}
MAX_PAIRS = 300
"""Pairs of which the page holds the numbers; `compare.json` has them all."""
MAX_CURVES = 16
"""Runs whose training is drawn; curves of more cannot be told apart."""
MARKS = {"yes": "✓", "no": "✗", "cannot tell": "?"}
TONES = {"yes": "good", "no": "bad", "cannot tell": "unsure"}


def write_comparison(report: Report, evaluation: Evaluation, out: Path) -> Path:
    """Write `compare.json`, `compare.html` and `plots/*.png`.

    Returns:
        Where the page is.
    """
    figures = draw_pareto(report)
    others = {"by_difficulty": draw_panels(report), "training": draw_training(report)}
    for name, figure in {**figures, **others}.items():
        if figure is not None:
            write_atomically(out / "plots" / f"compare_{name}.png", png(figure))
    write_atomically(out / "compare.json", json.dumps(report, indent=2, allow_nan=False) + "\n")
    path = out / "compare.html"
    write_page(path, "compare.html.j2", "concise_rl.evaluate.compare", **page_values(report, evaluation, figures))
    return path


def page_values(report: Report, evaluation: Evaluation, figures: Mapping[str, Any]) -> dict[str, Any]:
    """Collect what the template shows."""
    entries = text.numbered_entries(report)
    labels = {i: point_title(entry) for i, entry in entries}
    picture = draw_training(report)
    drawn, think_end = side_by_side.first_samples(evaluation), evaluation.manifest.measurement.think_end
    return {
        "report": report,
        "entries": entries,
        "columns": shown_columns(report),
        "color_index": color_index,
        "wording": wording,
        "over": text.over(report),
        "voting": text.voting(report),
        "redundancy": text.redundancy(report),
        "percent": text.percent,
        "points": text.points,
        "tokens": text.tokens,
        "figures": [(*CAPTIONS[name], page_svg(figure, name, labels)) for name, figure in figures.items()],
        "panels": [(n, page_svg(f, f"difficulty {n}", labels)) for n, f in draw_difficulties(report).items()],
        "training_picture": page_svg(picture, "training", labels) if picture else "",
        "contrasts": contrast_grids(report),
        "training_grid": training_grid(report),
        "by_difficulty": difficulty_grids(report),
        "training": panel_data(training_panels(evaluation)) if len(evaluation.manifest.runs) <= MAX_CURVES else [],
        "matrix": matrix(report),
        "signs": {verdict: (MARKS[verdict], TONES[verdict]) for verdict in MARKS},
        "pairs": report["pairs"] if len(report["pairs"]) <= MAX_PAIRS else [],
        "examples": side_by_side.examples(drawn, think_end),
        "verdict_marks": VERDICT_MARKS,
        "verdict_tones": VERDICT_TONES,
        "samples": side_by_side.browsed(drawn, think_end),
    }


def point_title(entry: Mapping[str, Any]) -> str:
    """Write what is said of a model under the pointer."""
    return f"{entry['label']}: {text.percent(entry['accuracy'])}, {text.tokens(entry['tokens'])} tokens"


def matrix(report: Report) -> list[tuple[str, list[str | None]]]:
    """Say for each model whether it saves tokens at equal accuracy, against each in the same order; None for itself.

    Empty where nothing could be compared.
    """
    verdicts = {}
    for pair in report["pairs"]:
        verdicts[pair["first"], pair["second"]] = pair["first_saves"]
        verdicts[pair["second"], pair["first"]] = pair["second_saves"]
    names = [e["label"] for e in text.all_entries(report) if any(e["label"] in pair for pair in verdicts)]
    return [(one, [verdicts.get((one, other)) for other in names]) for one in names]
