"""Completions of the same problems by every model: some side by side, many to browse."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from concise_rl.evaluate.browse import Shown, beside_of, cut_sample, facts_of, verdict_of
from concise_rl.evaluate.evaluation import Evaluation, Label
from concise_rl.evaluate.samples import Sample, read_samples
from concise_rl.output.pages.parts import Part, shorten
from concise_rl.output.pages.samples import Number, Text, browser_data

SIDE_BY_SIDE = 6
"""Problems that are shown with the completions of all models."""
SHOWN = 2_500
"""Characters of a completion that is shown side by side."""
BROWSED = 12_000
"""Samples of all models that the page holds at most."""
BUDGET = 8_000_000
"""Characters that their texts may take."""


@dataclass(frozen=True)
class First:
    """The first sample of each problem by one model, of its first training seed.

    Attributes:
        model: 0 is the baseline, then the methods in the order of the table.
        label: of the model.
        samples: by problem, without their token ids.
    """

    model: int
    label: str
    samples: Mapping[int, Sample]


@dataclass(frozen=True)
class Completion:
    """Hold what one model made of a problem.

    Attributes:
        model, label: as in `First`.
        verdict: in the words of the page.
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


def first_samples(evaluation: Evaluation) -> list[First]:
    """Read what is shown of each model."""
    return [First(i, label.name, _firsts(evaluation, label)) for i, label in evaluation.numbered]


def _firsts(evaluation: Evaluation, label: Label) -> dict[int, Sample]:
    samples = (sample for sample in read_samples(evaluation.paths[label.runs[0]]) if sample.sample == 0)
    return {sample.problem: sample.model_copy(update={"completion_ids": None}) for sample in samples}


def count_right(drawn: Sequence[First]) -> dict[int, int]:
    """Count the models that answer each problem correctly, by these samples."""
    return {p: sum(first.samples[p].correct == 1 for first in drawn) for p in sorted(drawn[0].samples)}


def examples(drawn: Sequence[First], think_end: str | None) -> list[Example]:
    """Choose problems evenly spread from those that most models answer correctly to those that fewest do."""
    right = count_right(drawn)
    ordered = sorted(right, key=lambda problem: (-right[problem], problem))
    places = np.linspace(0, len(ordered) - 1, min(SIDE_BY_SIDE, len(ordered))).round().astype(int)
    return [_example(drawn, ordered[place], right, think_end) for place in places]


def _example(drawn: Sequence[First], problem: int, right: Mapping[int, int], think_end: str | None) -> Example:
    completions = [_completion(first, first.samples[problem], think_end) for first in drawn]
    one = drawn[0].samples[problem]
    return Example(problem, one.prompt, one.gold, right[problem], completions)


def _completion(first: First, sample: Sample, think_end: str | None) -> Completion:
    parts = shorten(cut_sample(sample, think_end), SHOWN)
    return Completion(first.model, first.label, verdict_of(sample), sample.length, parts)


def browsed(drawn: Sequence[First], think_end: str | None) -> dict[str, Any]:
    """Pack samples of as many problems as there is room for; beside each method's is the baseline's."""
    right = count_right(drawn)
    problems = list(right)[: max(1, BROWSED // len(drawn))]
    shown = [Shown(first.label, order, first.samples[p]) for p in problems for order, first in enumerate(drawn)]
    beside = beside_of(shown, baselines=int(drawn[0].model == 0))
    facts = [
        *facts_of(shown, beside),
        Number("right", "models right", [right[one.sample.problem] for one in shown], wide=True),
    ]
    texts = [Text(one.sample.prompt, one.sample.gold, cut_sample(one.sample, think_end)) for one in shown]
    return browser_data(facts, texts, [one.sample.problem for one in shown], beside, BUDGET)
