"""One generator of reasoning traces that overthink, for any problem that can be worked out step by step.

A *pass* works a problem out once. An overthinking trace is a first pass that slips now and then, followed by re-checks,
each of them a whole pass: most find nothing, some catch a slip. Cutting blindly after the first pass therefore costs
accuracy, while most of the tokens are redundant. A pass without slips is the shortest trace there is: nothing in it can
be left out without skipping a step.

What a step says belongs to the task, what is said between the passes to a `Voice`: the embedded reasoner has a terse
one, a language model a plain English one.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

THINK_START, THINK_END = "<think>", "</think>"

T = TypeVar("T")


@dataclass(frozen=True)
class Habits:
    """How a trace overthinks. Slips are probabilities per step of a pass."""

    first_slip: float = 0.03
    """Chance that a step of the first pass comes out wrong."""
    check_slip: float = 0.007
    """The same for a step of a re-check."""
    max_checks: int = 5
    """Re-checks are drawn uniformly from 1 to this many."""
    no_check: float = 0.08
    """Chance of a trace that stops after the first pass, so that stopping is something the policy can find."""

    def __post_init__(self) -> None:
        for name in ("first_slip", "check_slip", "no_check"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is a probability, from 0 to 1, not {getattr(self, name)}.")
        # A re-check that disagrees is checked again: with checks that always slip, a trace would not end.
        if self.check_slip > 0.5:
            raise ValueError(f"check_slip is at most 0.5, not {self.check_slip}: re-checks have to come to an end.")
        if self.max_checks < 1:
            raise ValueError(f"max_checks is at least 1, not {self.max_checks}. For none at all: no_check=1.")


@dataclass(frozen=True)
class Voice:
    """What is said between the passes; `{}` stands for a result.

    Attributes:
        result: behind the first pass of a trace that goes on to check it.
        cues: what opens a re-check; one of them is drawn.
        agrees, differs: behind a re-check, by whether it has found what the pass before it had.
    """

    result: str
    cues: tuple[str, ...]
    agrees: str
    differs: str


class Slips:
    """Results of single steps, wrong ones now and then."""

    def __init__(self, rng: random.Random, rate: float) -> None:
        """
        Args:
            rng: decides; one draw for each step, and one more for each slip.
            rate: chance of a slip.
        """
        self.rng, self.rate = rng, rate

    def __call__(self, right: T, wrong: Sequence[T]) -> T:
        """`right`, or one of `wrong`. Where nothing plausible is wrong, a step cannot slip."""
        slipped = self.rng.random() < self.rate
        return self.rng.choice(wrong) if slipped and wrong else right


Pass = Callable[[Slips], tuple[str, str]]
"""Works a problem out once: the lines that it writes, and the answer that it reaches."""


def near(value: int) -> tuple[int, ...]:
    """What a sum that went wrong by a little comes to."""
    return value - 2, value - 1, value + 1, value + 2


def completion(thinking: str, answer: str) -> str:
    """A whole completion."""
    return f"{THINK_START}\n{thinking}{THINK_END}\n{answer}"


def shortest_completion(work: Pass) -> str:
    """The oracle: every step once, all of them right, then the answer."""
    return completion(*work(Slips(random.Random(0), 0.0)))


def overthinking_completion(work: Pass, voice: Voice, habits: Habits, rng: random.Random) -> str:
    """A first pass, re-checks and the last answer reached; a re-check that disagrees is itself checked once more.

    Args:
        work: the problem.
        voice: words between the passes.
        habits: how often what happens.
        rng: decides everything; in the same state it gives the same text.
    """
    thinking, answer = work(Slips(rng, habits.first_slip))
    if rng.random() < habits.no_check:
        return completion(thinking, answer)
    thinking += voice.result.format(answer)
    checks = rng.randint(1, habits.max_checks)
    while checks > 0:
        lines, found = work(Slips(rng, habits.check_slip))
        verdict = voice.agrees if found == answer else voice.differs
        thinking += f"{rng.choice(voice.cues)}\n{lines}{verdict.format(found)}"
        checks = max(checks - 1, int(found != answer))
        answer = found
    return completion(thinking, answer)
