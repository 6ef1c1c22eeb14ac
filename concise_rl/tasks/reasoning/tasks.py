"""The tasks: reasoning-gym's, and for those that are trained on, how a problem is worked out in plain English.

A step writer takes a problem's metadata, as reasoning-gym writes it, and `Slips`, through which every result that can
go wrong passes: whatever follows goes on from the wrong one. It gives the lines of one pass and the answer reached.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from concise_rl.tasks.reasoning.overthinking import Slips, Voice, near

Metadata = Mapping[str, Any]
Sizes = Mapping[str, Any]
"""Options of a reasoning-gym task."""

ENGLISH = Voice(
    result="So the answer is {}.\n",
    cues=(
        "Wait, let me check that.",
        "Hmm, let me go through it again.",
        "But is that right?",
        "Let me make sure.",
        "Alternatively, let me start over.",
    ),
    agrees="Yes, that gives {} again.\n",
    differs="No, this time it is {}.\n",
)


@dataclass(frozen=True)
class Task:
    """A task that is trained on.

    Attributes:
        trained, larger: sizes that are trained on, and sizes that never are.
        steps: writes a pass over a problem, given its metadata.
    """

    trained: Sizes
    larger: Sizes
    steps: Callable[[Metadata, Slips], tuple[str, str]]


def parse_sum(expression: str) -> list[int]:
    """Signed terms of an expression as `chain_sum` writes it: `4 + 3 - 9` gives [4, 3, -9]."""
    first, *rest = expression.split(" ")
    signs = rest[0::2]
    return [int(first), *(int(term) * (1 if sign == "+" else -1) for sign, term in zip(signs, rest[1::2], strict=True))]


def add_up(terms: Sequence[int], line: Callable[[int, int, int], str], slips: Slips) -> tuple[str, str]:
    """Every running total once.

    Args:
        terms: signed.
        line: writes a step: total before, term, total reached.
        slips: decides where a total is wrong.
    """
    total, lines = terms[0], []
    for term in terms[1:]:
        reached = slips(total + term, near(total + term))
        lines.append(line(total, term, reached))
        total = reached
    return "".join(lines), str(total)


def _sum_in_words(total: int, term: int, reached: int) -> str:
    return f"{total} {'minus' if term < 0 else 'plus'} {abs(term)} is {reached}.\n"


def _chain_sum(metadata: Metadata, slips: Slips) -> tuple[str, str]:
    """`57 plus 87 is 144.`"""
    return add_up(parse_sum(metadata["expression"]), _sum_in_words, slips)


def _leg_counting(metadata: Metadata, slips: Slips) -> tuple[str, str]:
    """`8 beetles have 8 times 6 = 48 legs, that makes 58.` A product may slip, and a total."""
    from reasoning_gym.arithmetic.leg_counting import ANIMALS

    total, lines = 0, []
    for animal, count in metadata["animals"].items():
        each = ANIMALS[animal]
        legs = slips(count * each, [n * each for n in (count - 1, count + 1) if each])
        total = slips(total + legs, [t for t in near(total + legs) if t >= 0]) if lines else legs
        who = f"{count} {animal}s have" if count > 1 else f"1 {animal} has"
        lines.append(f"{who} {count} times {each} = {legs} legs, that makes {total}.\n")
    return "".join(lines), str(total)


def _letter_counting(metadata: Metadata, slips: Slips) -> tuple[str, str]:
    """`"witness" has 2, that makes 3.`, or `"the" has none.` A word's count may slip."""
    total, lines = 0, []
    for word in metadata["span"]:
        count = word.lower().count(metadata["target_letter"])
        seen = slips(count, [n for n in (count - 1, count + 1) if n >= 0])
        total += seen
        lines.append(f'"{word}" has {seen}, that makes {total}.\n' if seen else f'"{word}" has none.\n')
    return "".join(lines), str(total)


def _gcd(metadata: Metadata, slips: Slips) -> tuple[str, str]:
    """`100 divided by 36 leaves 28.`, and on until nothing is left. A remainder may slip."""
    first, *others = metadata["numbers"]
    lines: list[str] = []
    for other in others:
        large, small = max(first, other), min(first, other)
        while small:
            rest = slips(large % small, [r for r in near(large % small) if 0 <= r < small])
            lines.append(f"{large} divided by {small} leaves {rest}.\n")
            large, small = small, rest
        first = large
    return "".join(lines), str(first)


def _number_sorting(metadata: Metadata, slips: Slips) -> tuple[str, str]:
    """`Of 19.0, 3.0, 57.0 the smallest is 3.0.`, and on with the others. Another number may be taken for it."""
    ascending = metadata["direction"] == "ascending"
    left, taken, lines = list(metadata["original_numbers"]), [], []
    while len(left) > 1:
        best = min(left, key=float) if ascending else max(left, key=float)
        chosen = slips(best, [number for number in left if number != best])
        lines.append(f"Of {', '.join(left)} the {'smallest' if ascending else 'largest'} is {chosen}.\n")
        taken.append(chosen)
        left.remove(chosen)
    return "".join(lines), str(taken + left)


# From one step that is easy to several that are not.
SEEN: dict[str, Task] = {
    "chain_sum": Task(
        {"min_terms": 2, "max_terms": 5, "min_digits": 1, "max_digits": 2},
        {"min_terms": 6, "max_terms": 8, "min_digits": 1, "max_digits": 2},
        _chain_sum,
    ),
    "letter_counting": Task({"min_words": 3, "max_words": 7}, {"min_words": 8, "max_words": 12}, _letter_counting),
    "number_sorting": Task(
        {"min_numbers": 3, "max_numbers": 4, "max_decimals": 0, "min_value": 1, "max_value": 99},
        {"min_numbers": 5, "max_numbers": 6, "max_decimals": 0, "min_value": 1, "max_value": 99},
        _number_sorting,
    ),
    "leg_counting": Task(
        {"min_animals": 2, "max_animals": 4, "max_instances": 9},
        {"min_animals": 5, "max_animals": 7, "max_instances": 9},
        _leg_counting,
    ),
    "gcd": Task({"min_value": 2, "max_value": 99}, {"min_value": 100, "max_value": 400}, _gcd),
}
"""Trained on."""
UNSEEN: dict[str, Sizes] = {
    "basic_arithmetic": {
        "operators": ("+", "-"),
        "max_terms": 4,
        "max_digits": 2,
        "allow_negation": False,
    },
    "lcm": {"min_value": 2, "max_value": 30},
    "number_filtering": {"max_numbers": 6, "max_decimals": 0, "min_value": 1, "max_value": 99},
    "spell_backward": {"max_word_len": 6},
}
"""Never trained on, each with something of one that is."""

SHORT: dict[str, Sizes] = {
    "chain_sum": {"min_terms": 2, "max_terms": 4, "min_digits": 1, "max_digits": 1},
    "leg_counting": {"min_animals": 1, "max_animals": 2, "max_instances": 5},
}
"""For one slow core: what a model of 135M parameters learns to calculate from a few thousand traces."""
SHORT_LARGER: dict[str, Sizes] = {
    "chain_sum": {"min_terms": 5, "max_terms": 6, "min_digits": 1, "max_digits": 1},
    "leg_counting": {"min_animals": 3, "max_animals": 3, "max_instances": 5},
}
SHORT_UNSEEN: dict[str, Sizes] = {
    "basic_arithmetic": {
        "operators": ("+", "-"),
        "min_terms": 2,
        "max_terms": 4,
        "max_digits": 1,
        "allow_negation": False,
    },
    "letter_counting": {"min_words": 2, "max_words": 3},
}
