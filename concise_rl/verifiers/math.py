"""Mathematical answers, compared by math-verify."""

import logging
from collections.abc import Mapping
from typing import Any

import math_verify

from concise_rl.verifiers.text import boxed

# It warns that its own timeouts are off. They use SIGALRM, which long integer operations ignore; the pool has a clock.
logging.getLogger("math_verify").setLevel(logging.ERROR)

MAX_BOXES = 8
"""More different boxed answers than this are guesses: wrong without a look at them."""


def _equal(gold: str, text: str) -> bool:
    """Whether the last answer in `text` has the value of `gold`."""
    parsed_gold = math_verify.parse(rf"\boxed{{{gold}}}", parsing_timeout=0)
    parsed = math_verify.parse(text, parsing_timeout=0, extraction_mode="first_match")
    return math_verify.verify(parsed_gold, parsed, timeout_seconds=None)


def verify(response: str, row: Mapping[str, Any]) -> bool:
    """Compare the boxed answer with the row's; without a box, the last expression of the response.

    Several different boxes are right when each of them is, or when they make up a gold answer of several values; one
    wrong box spoils the rest, so that guessing does not pay. An empty box and one never closed are wrong.
    """
    gold, boxes = row["answer"], list(dict.fromkeys(boxed(response)))
    if "\\boxed" not in response:
        return _equal(gold, response)
    if not boxes or "" in boxes or len(boxes) > MAX_BOXES:
        return False
    if all(_equal(gold, rf"\boxed{{{box}}}") for box in boxes):
        return True
    return len(boxes) > 1 and _equal(gold, rf"\boxed{{{', '.join(boxes)}}}")


_equal("1", "1")  # the first parse builds the grammar: half a second that belongs to the start, not to the first item
