"""The report as one HTML page without any outside resource."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from concise_rl.evaluate import text
from concise_rl.evaluate.browse import browse, cut_sample
from concise_rl.evaluate.evaluation import Evaluation, Label
from concise_rl.evaluate.plots import svg
from concise_rl.evaluate.reproduce import eval_command, shell_lines
from concise_rl.evaluate.samples import Sample
from concise_rl.evaluate.training import training_panels
from concise_rl.output.pages import render
from concise_rl.output.pages.curves import panel_data
from concise_rl.output.pages.palette import color_index
from concise_rl.output.pages.parts import Part
from concise_rl.reading.trace import StopReason

CAPTIONS = {
    "accuracy_against_tokens": (
        "Accuracy against tokens",
        "Up and to the left is better. The arms of a cross are 95 % intervals; faint points are single training seeds.",
    ),
    "length_distributions": ("How long completions are", "All samples, right and wrong, truncated ones at the cap."),
    "tokens_of_questions": ("What a question costs", "The tokens of all its samples, those given up included."),
    "tokens_by_difficulty": ("Tokens by difficulty", "A model that thinks as long as it needs rises with the oracle."),
    "accuracy_by_difficulty": ("Accuracy by difficulty", "Where thinking less costs answers, if it does."),
}


@dataclass(frozen=True)
class Example:
    """One completion as the page shows it."""

    label: str
    parts: list[Part]
    length: int
    think_length: int | None


def render_page(report: Mapping[str, Any], evaluation: Evaluation, figures: Mapping[str, Figure]) -> str:
    """Render the content of `report.html`."""
    entries = text.numbered_entries(report)
    prompt, examples = find_examples(evaluation)
    return render(
        "report.html.j2",
        "concise_rl.evaluate",
        report=report,
        headline=text.headline(report),
        voting=text.voting(report),
        judge=report["measurement"]["judge"] if text.has_labels(report) else None,
        has_cost=any(entry["cost"] for entry in text.all_entries(report)),
        has_target=any(entry["target"] for entry in text.all_entries(report)),
        has_reflections=any(e["overthinking"]["reflections"]["value"] is not None for e in text.all_entries(report)),
        figures=[(*CAPTIONS[name], svg(figure, name)) for name, figure in figures.items()],
        entries=[(color_index(i), entry) for i, entry in entries],
        has_spread=any(entry["spread"] for _, entry in entries),
        write=text,
        prompt=prompt,
        examples=examples,
        training=panel_data(training_panels(evaluation)),
        browsable=browse(evaluation),
        command="" if evaluation.manifest.measurement.imported_from else shell_lines(eval_command(evaluation.manifest)),
    )


def find_examples(evaluation: Evaluation) -> tuple[Sample | None, list[Example]]:
    """Find completions of one problem, before and after: the pair of median savings among those where both are correct.

    Returns:
        A sample that knows the problem's prompt and answer, and the completions; (None, []) where no pair is correct.
    """
    labels = [label for label in (evaluation.baseline, evaluation.labels[0]) if label]
    place = _median_place(labels)
    if place is None:
        return None, []
    samples = [evaluation.find(label.runs[0], *place) for label in labels]
    think_end = evaluation.manifest.measurement.think_end
    return samples[0], [_example(label.name, s, think_end) for label, s in zip(labels, samples, strict=True)]


def _median_place(labels: list[Label]) -> tuple[int, int] | None:
    """Find the (problem, sample) where each label's first run is correct and finished, in the middle by the ratio of
    lengths."""
    tables = [label.drawn[0] for label in labels]
    ended = (StopReason.EOS.label, StopReason.FORCED_EXIT.label)
    usable_PK = np.all([(t.correct_PK == 1) & np.isin(t.stop_PK, ended) for t in tables], axis=0)
    ratio_PK = tables[-1].length_PK / (tables[0].length_PK if len(tables) > 1 else 1)
    places = sorted((float(ratio_PK[p, k]), int(p), int(k)) for p, k in np.argwhere(usable_PK))
    return places[len(places) // 2][1:] if places else None


def _example(label: str, sample: Sample, think_end: str | None) -> Example:
    return Example(label, cut_sample(sample, think_end), sample.length, sample.think_length)
