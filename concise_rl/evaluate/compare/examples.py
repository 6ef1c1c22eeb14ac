"""Completions of the same problems by every model: some side by side, many to browse."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from concise_rl.evaluate.evaluation import Evaluation, Label
from concise_rl.evaluate.samples import Sample, read_samples
from concise_rl.pages.parts import Part, cut_text, shorten
from concise_rl.pages.samples import Category, Number, Text, browser_data

SIDE_BY_SIDE = 6
"""Problems that are shown with the completions of all models."""
SHOWN = 2_500
"""Characters of a completion that is shown side by side."""
BROWSED = 12_000
"""Samples of all models that the page holds at most."""
BUDGET = 8_000_000
VERDICTS: dict[int | None, str] = {1: "right", 0: "wrong", None: "no verdict"}
MARKS = {"right": "✓", "wrong": "✗", "no verdict": "?"}
TONES: dict[str, Any] = {"right": "good", "wrong": "bad"}


@dataclass(frozen=True)
class Completion:
    """What one model made of a problem.

    Attributes:
        model: 0 is the baseline, then the methods in the order of the table.
        label: of the model.
        verdict: a value of `VERDICTS`.
        length: tokens.
        parts: of its text, shortened.
    """

    model: int
    label: str
    verdict: str
    length: int
    parts: Sequence[Part]


@dataclass(frozen=True)
class Example:
    """A problem and what every model made of it.

    Attributes:
        problem: its number.
        prompt, gold: the problem and its answer.
        right: how many of the models answer it correctly.
        completions: of every model.
    """

    problem: int
    prompt: str
    gold: str
    right: int
    completions: Sequence[Completion]


Drawn = list[tuple[int, str, dict[int, Sample]]]
"""(index, label, sample of each problem) of every model."""


def first_samples(evaluation: Evaluation) -> Drawn:
    """The first sample of each problem, of the first training seed of each model."""
    labels: list[tuple[int, Label]] = list(enumerate(evaluation.labels, start=1))
    if evaluation.baseline:
        labels.insert(0, (0, evaluation.baseline))
    return [(i, label.name, _firsts(evaluation, label)) for i, label in labels]


def _firsts(evaluation: Evaluation, label: Label) -> dict[int, Sample]:
    return {s.problem: s for s in read_samples(evaluation.paths[label.runs[0]]) if s.sample == 0}


def examples(drawn: Drawn, think_end: str | None) -> list[Example]:
    """Problems evenly spread from those that most models answer correctly to those that fewest do."""
    problems = sorted(drawn[0][2])
    right = {p: sum(samples[p].correct == 1 for *_, samples in drawn) for p in problems}
    ordered = sorted(problems, key=lambda p: (-right[p], p))
    places = np.linspace(0, len(ordered) - 1, min(SIDE_BY_SIDE, len(ordered))).round().astype(int)
    return [_example(drawn, ordered[place], right, think_end) for place in places]


def _example(drawn: Drawn, problem: int, right: Mapping[int, int], think_end: str | None) -> Example:
    completions = [
        Completion(
            model,
            label,
            VERDICTS[samples[problem].correct],
            samples[problem].length,
            shorten(cut(samples[problem], think_end), SHOWN),
        )
        for model, label, samples in drawn
    ]
    one = drawn[0][2][problem]
    return Example(problem, one.prompt, one.gold, right[problem], completions)


def cut(sample: Sample, think_end: str | None) -> list[Part]:
    """The parts of a completion."""
    return cut_text(sample.text, think_end)


def browsed(drawn: Drawn, think_end: str | None) -> dict[str, Any]:
    """The data of the sample browser: of as many problems as there is room for, the baseline's beside each method's."""
    problems = sorted(drawn[0][2])[: max(1, BROWSED // len(drawn))]
    flat = [(model, label, samples[p]) for model, label, samples in drawn for p in problems]
    right = {p: sum(samples[p].correct == 1 for *_, samples in drawn) for p in problems}
    has_baseline = drawn[0][0] == 0
    beside = [p if has_baseline and model else None for model, *_ in drawn for p in range(len(problems))]
    return browser_data(
        _facts(flat, right),
        [Text(s.prompt, s.gold, cut(s, think_end)) for *_, s in flat],
        group=[s.problem for *_, s in flat],
        beside=beside,
        budget=BUDGET,
    )


def _facts(flat: Sequence[tuple[int, str, Sample]], right: Mapping[int, int]) -> list[Category | Number]:
    facts: list[Category | Number] = [
        Category("model", "model", [label for _, label, _ in flat]),
        Category("verdict", "verdict", [VERDICTS[s.correct] for *_, s in flat], MARKS, TONES),
        Number("tokens", "tokens", [s.length for *_, s in flat]),
        Number("redundant", "redundant", [s.labels and s.labels.redundant for *_, s in flat], wide=True),
        Number("right", "models right", [right[s.problem] for *_, s in flat], wide=True),
    ]
    if all(s.difficulty is not None for *_, s in flat):
        facts.append(Category("difficulty", "difficulty", [str(s.difficulty) for *_, s in flat], wide=True))
    return facts
