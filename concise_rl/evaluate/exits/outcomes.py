"""What an exit policy makes of stored samples: a cut, an answer and a cost for each. Pure functions.

Axes: P problems, K samples of each (of all runs of a label, side by side).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from concise_rl.evaluate.exits.store import Known, Place, StoredAnswer
from concise_rl.evaluate.intervals import mean_of_known
from concise_rl.evaluate.samples import Sample
from concise_rl.rollout.cost import Cost
from concise_rl.rollout.exits.policy import Ending

COSTS = tuple(Cost.model_fields)
FREE = Cost()


@dataclass(frozen=True)
class Outcome:
    """One sample under a policy.

    Attributes:
        correct: verdict; None where it could not be graded.
        text: tokens of the completion: thinking up to the place, what closes it, and the answer.
        at: thinking tokens before the place where it was stopped; None where it was not.
        cost: of the looks that were taken.
    """

    correct: int | None
    text: int
    at: int | None = None
    cost: Cost = FREE


@dataclass(frozen=True)
class Outcomes:
    """The outcomes of a policy as numbers.

    Attributes:
        correct_PK, at_PK: NaN where they are not known.
        text_PK: tokens.
        cost_PK: of each name in `COSTS`.
    """

    correct_PK: np.ndarray
    at_PK: np.ndarray
    text_PK: np.ndarray
    cost_PK: Mapping[str, np.ndarray]

    @property
    def accuracy_P(self) -> np.ndarray:
        """Return the mean verdict of each problem over what was graded."""
        return mean_of_known(self.correct_PK)

    @property
    def text_P(self) -> np.ndarray:
        """Return the mean tokens of a completion, as published tables count them."""
        return self.text_PK.mean(axis=1)

    @property
    def spent_P(self) -> np.ndarray:
        """Return the mean tokens of a completion and of its looks, as an evaluation's report counts them."""
        return (self.text_PK + self.cost_PK["decoded"]).mean(axis=1)


def tabulate_outcomes(outcomes: Mapping[Place, Outcome]) -> Outcomes:
    """Arrange outcomes by problem and sample. Every place of the grid must be there."""
    shape = tuple(1 + max(place[axis] for place in outcomes) for axis in (0, 1))
    assert len(outcomes) == shape[0] * shape[1], "each sample of each problem has an outcome"
    found = Outcomes(*(np.full(shape, np.nan) for _ in range(3)), {name: np.zeros(shape) for name in COSTS})
    for place, outcome in outcomes.items():
        found.correct_PK[place] = np.nan if outcome.correct is None else outcome.correct
        found.at_PK[place] = np.nan if outcome.at is None else outcome.at
        found.text_PK[place] = outcome.text
        for name in COSTS:
            found.cost_PK[name][place] = getattr(outcome.cost, name)
    return found


def side_by_side(runs: Sequence[Outcomes]) -> Outcomes:
    """Put the runs of a label side by side: each problem has the samples of all of them."""
    return Outcomes(
        *(np.hstack([getattr(run, name) for run in runs]) for name in ("correct_PK", "at_PK", "text_PK")),
        {name: np.hstack([run.cost_PK[name] for run in runs]) for name in COSTS},
    )


def as_drawn(sample: Sample) -> Outcome:
    """Return what a sample is as it was drawn: full, or under the exit that its model was run with."""
    return Outcome(sample.correct, sample.length, cost=sample.cost or FREE)


def cut(at: int, ending: Ending, answer: StoredAnswer, cost: Cost = FREE) -> Outcome:
    """Return what a sample is when it is closed at a place."""
    return Outcome(answer.correct, at + len(ending.ids) + len(answer.ids), at, cost)


def right_answers(known: Known) -> list[Outcome]:
    """List the right answers that were forced anywhere in a sample's thinking, the earliest first."""
    found = [
        cut(at, ending, answer)
        for ending, answers in known.answers.items()
        for at, answer in answers.items()
        if answer.correct == 1
    ]
    return sorted(found, key=lambda one: (one.at, one.text))


def oracle(sample: Sample, known: Known) -> Outcome:
    """Stop in hindsight: at the earliest place whose forced answer is right; nowhere where none is.

    No policy on the same places is right where this is not. (The oracle of ThinkBrake, https://hf.co/papers/2510.00546,
    takes the best boundary in the same way.)
    """
    return next(iter(right_answers(known)), as_drawn(sample))


@dataclass(frozen=True)
class FirstRight:
    """What the places of a label's samples say about its thinking.

    Attributes:
        ever: share of the samples that are right at a place, or at their own end.
        early: share that are right at a place.
        lost: share that are wrong at their own end, though right at a place: thinking on has cost the answer.
        share: mean share of the thinking before the first right place, over the samples that have one.
        behind: mean thinking tokens behind it.
    """

    ever: float
    early: float
    lost: float
    share: float | None
    behind: float | None


def first_right(pairs: Sequence[tuple[Sample, Known]]) -> FirstRight:
    """Count where forced answers are right for the first time, in samples and what is known of each."""
    firsts = [(sample, next((one.at or 0 for one in right_answers(known)), None)) for sample, known in pairs]
    early = [(sample, at) for sample, at in firsts if at is not None]
    right = sum(sample.correct == 1 for sample, at in firsts if at is None)
    shares = [at / sample.think_length for sample, at in early if sample.think_length]
    return FirstRight(
        ever=(len(early) + right) / len(pairs),
        early=len(early) / len(pairs),
        lost=sum(sample.correct == 0 for sample, _ in early) / len(pairs),
        share=float(np.mean(shares)) if shares else None,
        behind=float(np.mean([len(sample.thinking_ids) - at for sample, at in early])) if early else None,
    )
