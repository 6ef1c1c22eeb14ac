"""What the answer column of a data set holds: gold answers by kind, and signs of a wrong column or scorer."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from concise_rl.verify.pool import VerifierPool
from concise_rl.verify.verifiers.metadata import load_metadata
from concise_rl.verify.verifiers.words import WORDS

logger = logging.getLogger(__name__)

MAX_SHOWN = 3
"""Examples of each kind that a message shows."""
MIN_ROWS = 8
"""Of fewer rows nothing is concluded from what they share."""
NONSENSE = ("0", "1", "nan", "x", "-", "[]", "no")
"""What no scorer may pay on rows of different answers."""
PROBED_ROWS = 16
MANY_ROWS, FEW_ANSWERS = 100, 10
"""So many rows with so few different answers are probably graded by a level, a year or a class."""


def kinds_of_golds(pool: VerifierPool, answers: Sequence[str], places: Sequence[int]) -> list[str]:
    """A line for each kind among the answers at some places, with its number and a few of them, the largest first."""
    kinds: dict[str, list[int]] = {}
    for place in places:
        kinds.setdefault(pool.kind_of_gold(answers[place]) or "not read as an answer", []).append(place)
    lines = []
    for kind, found in sorted(kinds.items(), key=lambda item: -len(item[1])):
        shown = [f"row {place}: {answers[place][:100]!r}" for place in found[:MAX_SHOWN]]
        more = f", and {len(found) - MAX_SHOWN} more" if len(found) > MAX_SHOWN else ""
        lines.append(f"{len(found)} {kind}: {'; '.join(shown)}{more}")
    return lines


def check_accepted(pool: VerifierPool, answers: Sequence[str], places: Sequence[int]) -> None:
    """Look for signs of a wrong answer column among gold answers that the verifier accepts.

    Args:
        pool: the verifier. Of those that take any text for an answer nothing is said.
        answers: of all rows.
        places: those that it accepts.

    Raises:
        ValueError: when most of them are words that are no usual answers.
    """
    words = [place for place in places if pool.kind_of_gold(answers[place]) == WORDS]
    if len(words) * 2 > len(places) >= MIN_ROWS:
        raise ValueError(
            f"Most answers are words, {len(words)} of {len(places)}:\n  {kinds_of_golds(pool, answers, words)[0]}\n"
            "Is it the right answer column? The verifier exact compares any texts."
        )
    if words:
        logger.warning("Some answers are words:\n  %s", kinds_of_golds(pool, answers, words)[0])
    different = sorted({answers[place].strip() for place in places})
    if pool.reads_values and len(places) >= MANY_ROWS and len(different) <= FEW_ANSWERS and not _usual(different):
        logger.warning(
            "%d rows have only %d different answers: %s. Is it the right answer column?",
            len(places),
            len(different),
            ", ".join(map(repr, different)),
        )


def check_discerns(pool: VerifierPool, rows: Iterable[Any]) -> None:
    """Look for reasoning-gym tasks whose scorer pays answers such as `0` or `nan` whatever the row.

    Args:
        pool: the verifier; nothing is done with others than `reasoning_gym`.
        rows: whose own answers it accepts.

    Raises:
        ValueError: when the scorer of a task pays one of `NONSENSE` on most rows, though their answers differ.
    """
    if pool.name != "reasoning_gym":
        return
    tasks: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        tasks.setdefault(load_metadata(row["metadata"])["source_dataset"], []).append(row)
    for task, of_one in tasks.items():
        probed = of_one[:PROBED_ROWS]
        paid = pool.judge([(text, row) for row in probed for text in NONSENSE])
        pool.reset_counters()
        for i, text in enumerate(NONSENSE):
            answers = [row["answer"] for row, verdict in zip(probed, paid[i :: len(NONSENSE)], strict=True) if verdict]
            if len(set(answers)) > 1 and len(answers) * 2 > len(probed):
                shown = ", ".join(map(repr, dict.fromkeys(answers).keys()))[:100]
                raise ValueError(
                    f"The scorer of reasoning_gym:{task} pays {text!r} on {len(answers)} of {len(probed)} rows, "
                    f"whose answers are {shown}: it grades nothing. Take another task."
                )


def _usual(answers: Sequence[str]) -> bool:
    """Whether the answers are words or letters, of which there are few in many data sets."""
    return all(any(letter.isalpha() for letter in answer) for answer in answers)
