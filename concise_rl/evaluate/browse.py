"""The samples of an evaluation as the page's browser shows them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from concise_rl.evaluate.evaluation import Evaluation
from concise_rl.evaluate.samples import Sample, read_samples
from concise_rl.output.pages.parts import Part, cut_text
from concise_rl.output.pages.samples import (
    VERDICT_MARKS,
    VERDICT_TONES,
    VERDICTS,
    Category,
    Number,
    Text,
    Tone,
    browser_data,
)
from concise_rl.reading.trace import StopReason

MAX_DIFFICULTIES = 30
"""More of them make no filter."""
_CHANGES: Mapping[tuple[int | None, int | None], str] = {
    (0, 1): "wrong to right",
    (1, 0): "right to wrong",
    (1, 1): "both right",
    (0, 0): "both wrong",
}
_CHANGE_MARKS = {"wrong to right": "↑", "right to wrong": "↓", "both right": "=", "both wrong": "="}
_CHANGE_TONES: Mapping[str, Tone] = {"wrong to right": "good", "right to wrong": "bad"}
_ENDINGS = {"eos": "by itself", "length": "cut at the cap", "aborted": "given up"}


@dataclass(frozen=True)
class Shown:
    """One sample of the page.

    Attributes:
        model: title of the run.
        order: number of the run among all, the baseline's first.
        sample: without its token ids, which are many and not shown.
    """

    model: str
    order: int
    sample: Sample


@dataclass(frozen=True)
class Browsable:
    """The samples of an evaluation, for the page.

    Attributes:
        data: for the macro `browser`.
        unmarked: samples that have redundant tokens whose place was not kept.
    """

    data: dict[str, Any]
    unmarked: int


def browse(evaluation: Evaluation) -> Browsable:
    """Pack the samples of every run for the page: problem by problem, in each the baseline's first."""
    runs = [run for _, label in evaluation.numbered for run in label.runs]
    shown = [
        Shown(run.title, order, sample.model_copy(update={"completion_ids": None}))
        for order, run in enumerate(runs)
        for sample in read_samples(evaluation.paths[run])
    ]
    shown.sort(key=lambda one: (one.sample.problem, one.order, one.sample.sample))
    think_end = evaluation.manifest.measurement.think_end
    texts = [Text(one.sample.prompt, one.sample.gold, cut_sample(one.sample, think_end)) for one in shown]
    beside = beside_of(shown, len(evaluation.baseline.runs) if evaluation.baseline else 0)
    data = browser_data(facts_of(shown, beside), texts, [one.sample.problem for one in shown], beside)
    return Browsable(data, sum(_is_unmarked(one.sample) for one in shown))


def cut_sample(sample: Sample, think_end: str | None) -> list[Part]:
    """Cut a sample's text into its parts; the redundant one too, where its place was kept."""
    return cut_text(sample.text, think_end, sample.labels.redundant_at if sample.labels else None)


def _is_unmarked(sample: Sample) -> bool:
    return sample.labels is not None and sample.labels.redundant > 0 and sample.labels.redundant_at is None


def beside_of(shown: Sequence[Shown], baselines: int) -> list[int | None] | None:
    """Find for each sample of a method the baseline's of the same problem and number; None without a baseline.

    Args:
        shown: samples of every run.
        baselines: how many runs are the baseline's. They come first.
    """
    if not baselines:
        return None
    place = {(one.sample.problem, one.sample.sample): i for i, one in enumerate(shown) if one.order == 0}
    return [None if one.order < baselines else place[one.sample.problem, one.sample.sample] for one in shown]


def facts_of(shown: Sequence[Shown], beside: Sequence[int | None] | None) -> list[Category | Number]:
    """Return the columns of the browser; those of which nothing is known are left out."""
    samples = [one.sample for one in shown]
    changes = [None if i is None else _change(samples[i], s) for i, s in zip(beside or [], samples, strict=False)]
    facts: list[Category | Number] = [
        Category("model", "model", [one.model for one in shown]),
        Category("verdict", "verdict", [verdict_of(s) for s in samples], VERDICT_MARKS, VERDICT_TONES),
        Category("change", "against baseline", changes, _CHANGE_MARKS, _CHANGE_TONES, wide=True),
        Number("tokens", "tokens", [s.length for s in samples]),
        Number("redundant", "redundant", [s.measures.get("redundant_tokens") for s in samples]),
        Category("ended", "ended", [_ended(s) for s in samples], wide=True),
        Number("thinking", "thinking", [s.think_length for s in samples], listed=False),
        Number("reflections", "reflections", [s.reflections for s in samples], listed=False),
        Number("problem", "problem", [s.problem for s in samples], listed=False, sort=False),
        Number("sample", "sample", [s.sample for s in samples], listed=False, sort=False),
        Category("difficulty", "difficulty", _difficulties(samples), listed=False),
        *_written(samples),
    ]
    return [fact for fact in facts if any(value is not None for value in fact.values)]


def verdict_of(sample: Sample) -> str:
    """Return its verdict, in the words of the page."""
    return "given up" if sample.stop_reason == StopReason.ABORTED.label else VERDICTS[sample.correct]


def _change(before: Sample, after: Sample) -> str | None:
    return _CHANGES.get((before.correct, after.correct))


def _ended(sample: Sample) -> str:
    """Say how a sample ended, in the words of the page."""
    if sample.finished and sample.answer is None:
        return "in the thinking"
    return _ENDINGS.get(sample.stop_reason, sample.stop_reason.replace("_", " "))


def _written(samples: Sequence[Sample]) -> list[Number]:
    """Return a column for each number that was written into prompts: fact `target` as `in prompt: target`."""
    names = dict.fromkeys(name for s in samples for name in s.facts)
    return [
        Number(f"fact-{name}", f"in prompt: {name}", values, 0 if _are_whole(values) else 2, listed=False)
        for name in names
        for values in [[s.facts.get(name) for s in samples]]
    ]


def _are_whole(values: Sequence[float | None]) -> bool:
    return all(value is None or value == int(value) for value in values)


def _difficulties(samples: Sequence[Sample]) -> list[str | None]:
    """Return the values of a filter; none at all where there are too many."""
    values = [None if s.difficulty is None else str(s.difficulty) for s in samples]
    return values if len(set(values)) <= MAX_DIFFICULTIES else [None] * len(values)
