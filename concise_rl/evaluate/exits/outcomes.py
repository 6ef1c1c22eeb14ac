"""What an exit policy makes of stored samples: a cut, an answer and a cost for each. Pure functions.

Axes: P problems, K samples of each (of all runs of a label, side by side).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np

from concise_rl.evaluate.exits.store import Known, Place, StoredAnswer
from concise_rl.evaluate.samples import Sample
from concise_rl.evaluate.statistics import mean_of_known
from concise_rl.rollout.exits.policy import Ending

BLOCK = 16
"""Tokens of a cache's block: the last, partial one of a prefix is computed again for a probe."""


@dataclass(frozen=True)
class Outcome:
    """One sample under a policy.

    Attributes:
        correct: verdict; None where it could not be graded.
        text: tokens of the completion: thinking up to the place, closing and answer.
        sampled: those of them that the model sampled.
        at: thinking tokens before the place where it was stopped; None where it was not.
        probes: looks taken.
        decoded: tokens decoded in them.
        suffix: tokens forced behind prefixes, which are prefilled.
        blocks: tokens of last partial blocks that are computed again.
        prefixes: tokens of whole prefixes, prompt included, that are computed again without a cache.
    """

    correct: int | None
    text: int
    sampled: int
    at: int | None = None
    probes: int = 0
    decoded: int = 0
    suffix: int = 0
    blocks: int = 0
    prefixes: int = 0


@dataclass(frozen=True)
class Outcomes:
    """The outcomes of a policy as numbers, (P, K) each; see `Outcome`. NaN where `correct` or `at` is not known."""

    correct: np.ndarray
    text: np.ndarray
    sampled: np.ndarray
    at: np.ndarray
    probes: np.ndarray
    decoded: np.ndarray
    suffix: np.ndarray
    blocks: np.ndarray
    prefixes: np.ndarray

    @property
    def accuracy_P(self) -> np.ndarray:
        """Return the mean verdict of each problem over what was graded."""
        return mean_of_known(self.correct)

    @property
    def text_P(self) -> np.ndarray:
        """Return the mean tokens of a completion, as published tables count them."""
        return self.text.mean(axis=1)

    @property
    def decoded_P(self) -> np.ndarray:
        """Return the same and the tokens decoded in probes."""
        return (self.text + self.decoded).mean(axis=1)


def tabulate_outcomes(outcomes: Mapping[Place, Outcome]) -> Outcomes:
    """Arrange outcomes by problem and sample. Every place of the grid must be there."""
    shape = tuple(1 + max(place[axis] for place in outcomes) for axis in (0, 1))
    assert len(outcomes) == shape[0] * shape[1], "each sample of each problem has an outcome"
    arrays = {column.name: np.full(shape, np.nan) for column in fields(Outcome)}
    for place, outcome in outcomes.items():
        for name, array in arrays.items():
            value = getattr(outcome, name)
            array[place] = np.nan if value is None else value
    return Outcomes(**arrays)


def side_by_side(runs: Sequence[Outcomes]) -> Outcomes:
    """Put the runs of a label side by side: each problem has the samples of all of them."""
    return Outcomes(*(np.hstack([getattr(run, name.name) for run in runs]) for name in fields(Outcomes)))


def full(sample: Sample) -> Outcome:
    """Return what a sample is when nothing stops it."""
    return Outcome(sample.correct, sample.length, sample.length if sample.sampled is None else sample.sampled)


def cut(at: int, ending: Ending, answer: StoredAnswer) -> Outcome:
    """Return what a sample is when it is closed at a place, whatever led to that."""
    return Outcome(answer.correct, at + len(ending.ids) + len(answer.ids), at + len(answer.ids), at)


def right_answers(known: Known) -> list[Outcome]:
    """List the right answers that were forced anywhere in a sample's thinking, the shortest completion first."""
    found = [
        cut(at, ending, answer)
        for ending, answers in known.answers.items()
        for at, answer in answers.items()
        if answer.correct == 1
    ]
    return sorted(found, key=lambda one: (one.at, one.text))


def oracle(sample: Sample, known: Known) -> Outcome:
    """Stop in hindsight: at the earliest place whose forced answer is right; nowhere where none is.

    No policy on the same places is right where this is not (ThinkBrake's oracle, https://hf.co/papers/2510.00546,
    takes the best boundary so).
    """
    return next(iter(right_answers(known)), full(sample))


@dataclass(frozen=True)
class FirstRight:
    """What the places of a label's samples say about its thinking.

    Attributes:
        ever: share of the samples of which a place, or the end, answers right.
        early: share of which a place does.
        lost: share that are wrong at their own end though a place answers right: thinking on has cost the answer.
        share: mean share of the thinking before the first right place, over the samples that have one.
        behind: mean thinking tokens behind it.
    """

    ever: float
    early: float
    lost: float
    share: float | None
    behind: float | None


def first_right(samples: Sequence[Sample], known: Callable[[Sample], Known]) -> FirstRight:
    """Count where forced answers are right for the first time."""
    firsts = [(sample, next((one.at or 0 for one in right_answers(known(sample))), None)) for sample in samples]
    early = [(sample, at) for sample, at in firsts if at is not None]
    right = sum(sample.correct == 1 for sample, at in firsts if at is None)
    shares = [at / sample.think_length for sample, at in early if sample.think_length]
    return FirstRight(
        ever=(len(early) + right) / len(samples),
        early=len(early) / len(samples),
        lost=sum(sample.correct == 0 for sample, _ in early) / len(samples),
        share=float(np.mean(shares)) if shares else None,
        behind=float(np.mean([sample.think_length - at for sample, at in early])) if early else None,
    )
