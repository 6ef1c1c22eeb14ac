r"""Mathematical answers, compared by value.

The answer is what stands in the boxes of a response, or else its last claim (`claims.py`). Gold
answers are read as responses are (`values.py`), and both are compared in
`equality.py`. latex2sympy, the reader of math-verify, reads the expressions; math-verify compares
what numbers cannot.

Limits:
- Only the last 4,000 characters of a response are looked at, and answers of 1,500 characters at most.
- Letters are factors, not units: units stand in `\text{}` or are words. A side without units agrees with any.
- Formulas with variables are compared at points, most of them positive: `2\log x` is `\log x^2`.
- Any form of the same value is right: an unreduced fraction, a product for a sum. The form is not asked for.
- Bare letters are a word when they look like one (`east`), and a product otherwise (`xyz`).
- Numbers too large to compute, and brackets nested beyond reading, get no verdict.
"""

import logging
from collections.abc import Mapping
from typing import Any

from concise_rl.verify.verifiers.claims import answers
from concise_rl.verify.verifiers.copied import is_copied
from concise_rl.verify.verifiers.equality import equal, within
from concise_rl.verify.verifiers.latex import TooDeepError
from concise_rl.verify.verifiers.numeric import TooLargeError
from concise_rl.verify.verifiers.values import Sequence, read

# It warns that its own timeouts are off. They use SIGALRM, which long integer operations ignore; the pool has a clock.
logging.getLogger("math_verify").setLevel(logging.ERROR)

MAX_BOXES = 8
"""More different boxed answers than this are guesses: wrong without a look at them."""


def _says(gold: Any, text: str, tolerance: float = 0.0) -> bool:
    """Whether an answer has the value of the gold answer. `81,256` is two numbers where the gold answer is a list."""
    value = read(text)
    if value is not None and (equal(gold, value) or (tolerance and within(gold, value, tolerance))):
        return True
    separate = read(text, thousands=False) if isinstance(gold, Sequence) and gold.brackets == "" else value
    return separate is not None and separate != value and equal(gold, separate)


def _is_right(gold: Any, found: list[str], tolerance: float) -> bool:
    if not found or "" in found or len(found) > MAX_BOXES or gold is None:
        return False
    if all(_says(gold, answer, tolerance) for answer in found):
        return True
    return len(found) > 1 and _says(gold, ", ".join(found))


def verify(response: str, row: Mapping[str, Any]) -> bool | None:
    """Compare the boxed answer with the row's; without a box, the last claim of the response.

    Several different boxes are right when each of them is, or when they make up a gold answer of several values; one
    wrong box spoils the rest, so that guessing does not pay. A box never closed is wrong. None where it cannot be told.
    A number may be off by the row's `answer_tolerance`, where it has one.

    Raises:
        ValueError: for a tolerance that is no number.
    """
    tolerance = float(row.get("answer_tolerance") or 0)
    try:
        return _is_right(read(row["answer"]), answers(response), tolerance)
    except (TooLargeError, TooDeepError, RecursionError):
        return None


def verify_worked_out(response: str, row: Mapping[str, Any]) -> bool | None:
    """As `verify`, but an answer that copies a formula of the problem in place of working it out is wrong."""
    verdict = verify(response, row)
    if not verdict:
        return verdict
    return not any(is_copied(answer, row) for answer in answers(response))


verify(r"\boxed{\frac{x}{2}+1}", {"answer": "1"})  # the first parse builds the grammar: that belongs to the start
