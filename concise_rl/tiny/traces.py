"""Reasoning traces for the embedded reasoner: sums worked out one running total a line, then checked again and again.

A problem is an expression as reasoning-gym's `chain_sum` writes it (`4 + 3 - 9`). A *pass* computes every running total
once. An overthinking trace is a first pass that slips now and then, followed by re-checks: most find nothing, some
catch a slip. Cutting blindly after the first pass therefore costs accuracy, while most of the tokens are redundant.
"""

import random
from dataclasses import dataclass

THINK_START, THINK_END = "<think>", "</think>"
CUES = (
    "Wait, let me check.",
    "Hmm, check again.",
    "But is it right?",
    "Alternatively, go again.",
    "Let me check again.",
)


@dataclass(frozen=True)
class Habits:
    """How a trace overthinks. Probabilities are per line of a pass."""

    first_slip: float = 0.03
    """Chance that a line of the first pass gives a wrong total."""
    check_slip: float = 0.007
    """The same for a line of a re-check."""
    max_checks: int = 5
    """Re-checks are drawn uniformly from 1 to this many."""
    no_check: float = 0.08
    """Chance of a trace that stops after the first pass, so that stopping is something the policy can find."""


DIRECT = Habits(no_check=1.0)
"""One pass and the answer."""
CARELESS = Habits(first_slip=0.08, check_slip=0.0)
"""A first pass that often slips and checks that never do: reflection is worth its tokens."""


def parse(expression: str) -> list[int]:
    """Signed terms of an expression: `4 + 3 - 9` gives [4, 3, -9]."""
    first, *rest = expression.split(" ")
    signs = rest[0::2]
    return [int(first), *(int(term) * (1 if sign == "+" else -1) for sign, term in zip(signs, rest[1::2], strict=True))]


def _pass(terms: list[int], slip: float, rng: random.Random) -> tuple[str, int]:
    """One pass over the terms: its lines and the total that it reaches."""
    total, lines = terms[0], []
    for term in terms[1:]:
        reached = total + term
        if rng.random() < slip:
            reached += rng.choice((-2, -1, 1, 2))
        lines.append(f"{total} {'-' if term < 0 else '+'} {abs(term)} = {reached}\n")
        total = reached
    return "".join(lines), total


def _completion(thinking: str, answer: int) -> str:
    return f"{THINK_START}\n{thinking}{THINK_END}\n{answer}"


def shortest_completion(expression: str) -> str:
    """The oracle: every running total once, then the answer. Nothing in it can be left out without skipping a step."""
    thinking, total = _pass(parse(expression), 0.0, random.Random(0))
    return _completion(thinking, total)


def overthinking_completion(expression: str, rng: random.Random, habits: Habits | None = None) -> str:
    """A first pass, re-checks and the last total reached; a re-check that disagrees is itself checked once more."""
    habits = habits or Habits()
    terms = parse(expression)
    thinking, total = _pass(terms, habits.first_slip, rng)
    if rng.random() < habits.no_check:
        return _completion(thinking, total)
    thinking += f"So {total}.\n"
    checks = rng.randint(1, habits.max_checks)
    while checks > 0:
        lines, found = _pass(terms, habits.check_slip, rng)
        verdict = f"Yes, {found}.\n" if found == total else f"No, {found}.\n"
        thinking += f"{rng.choice(CUES)}\n{lines}{verdict}"
        checks = max(checks - 1, int(found != total))
        total = found
    return _completion(thinking, total)
