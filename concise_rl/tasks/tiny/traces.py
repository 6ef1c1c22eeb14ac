"""Reasoning traces for the embedded reasoner: sums worked out one running total a line, then checked again and again.

A problem is an expression as reasoning-gym's `chain_sum` writes it (`4 + 3 - 9`). What overthinks is
`concise_rl.tasks.reasoning.overthinking`; here is its terse voice, in the few words of the embedded vocabulary.
"""

import functools
import random

from concise_rl.tasks.reasoning import overthinking
from concise_rl.tasks.reasoning.overthinking import Habits, Pass, Voice
from concise_rl.tasks.reasoning.tasks import add_up, parse_sum

TERSE = Voice(
    result="So {}.\n",
    cues=(
        "Wait, let me check.",
        "Hmm, check again.",
        "But is it right?",
        "Alternatively, go again.",
        "Let me check again.",
    ),
    agrees="Yes, {}.\n",
    differs="No, {}.\n",
)
DIRECT = Habits(no_check=1.0)
"""One pass and the answer."""
CARELESS = Habits(first_slip=0.08, check_slip=0.0)
"""A first pass that often slips and checks that never do: reflection is worth its tokens."""


def _line(total: int, term: int, reached: int) -> str:
    return f"{total} {'-' if term < 0 else '+'} {abs(term)} = {reached}\n"


def _work_on(expression: str) -> Pass:
    return functools.partial(add_up, parse_sum(expression), _line)


def shortest_completion(expression: str) -> str:
    """The oracle: every running total once, then the answer."""
    return overthinking.shortest_completion(_work_on(expression))


def overthinking_completion(expression: str, rng: random.Random, habits: Habits | None = None) -> str:
    """See `overthinking.overthinking_completion`."""
    return overthinking.overthinking_completion(_work_on(expression), TERSE, habits or Habits(), rng)
