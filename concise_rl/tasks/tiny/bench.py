"""`tiny:bench`: sums guessed in the head at first, and worked out line by line where the guess is checked.

A guess costs five tokens. How often it is right falls with the number of operations: the model's ability limits it, not
a habit. A check costs a line for each operation and is more reliable. So a check is worth its tokens on some problems
and not on others, and the problem shows on which.
"""

import hashlib
import json
import random
from collections.abc import Iterator
from typing import Any

from concise_rl.tasks.reasoning.overthinking import Slips, completion, near

OPERATIONS = range(1, 6)
"""How many operations a problem may have: its difficulty."""
GUESS_SLIP = {1: 0.02, 2: 0.04, 3: 0.06, 4: 0.1, 5: 0.12}
"""Share of wrong guesses in demonstrations with checks, by operations, so that a check that corrects is shown."""
CHECKS = (0.08, 0.55, 0.25, 0.12)
"""Chances of 0, 1, 2 and 3 checks in a demonstration."""
CUES = ("Wait, check.", "Hmm, again.", "But is it right?", "Let me check.")
BLOCK, GUESS_BLOCKS, WINDOW = 64, 2, 512
"""Rows of one kind in a row, blocks of guesses for each block with checks, and rows that are sorted by length."""


def apply(left: int, sign: str, right: int) -> int:
    """One operation."""
    return left + right if sign == "+" else left - right


def work_out(expression: str) -> tuple[str, int]:
    """The lines of a check, one for each operation, and the result."""
    first, *rest = expression.split(" ")
    value, lines = int(first), ""
    for sign, term in zip(rest[0::2], rest[1::2], strict=True):
        reached = apply(value, sign, int(term))
        lines += f"{value} {sign} {term} = {reached}\n"
        value = reached
    return lines, value


def _is_test(expression: str) -> bool:
    """One expression in eight is held out for testing, whatever the seed."""
    return hashlib.sha256(expression.encode()).digest()[0] % 8 == 0


def _expression(rng: random.Random) -> str:
    terms = [str(rng.randint(1, 9))]
    for _ in range(rng.choice(OPERATIONS)):
        terms += [rng.choice("+-"), str(rng.randint(1, 9))]
    return " ".join(terms)


def _difficulty(expression: str) -> int:
    return expression.count(" ") // 2


def generate_expressions(split: str, seed: int) -> Iterator[str]:
    """Endless sums and differences of 2 to 6 single digits. No expression of the test split is in the train split.

    Raises:
        ValueError: for another split than train and test.
    """
    if split not in ("train", "test"):
        raise ValueError(f"tiny:bench has the splits train and test, not {split!r}.")
    rng = random.Random(seed)
    while True:
        expression = _expression(rng)
        if _is_test(expression) == (split == "test"):
            yield expression


def load_bench_problems(split: str = "train", num_rows: int | None = None, seed: int = 0) -> list[dict[str, Any]]:
    """The first `num_rows` (4,096 unless told) different problems of a split.

    Each row has `prompt`, `answer`, `metadata` (JSON text with the expression), `difficulty` (number of operations) and
    `oracle_completion` (every operation once, then the answer).

    Raises:
        ValueError: for another split than train and test.
    """
    expressions: dict[str, None] = {}
    for expression in generate_expressions(split, seed):
        expressions.setdefault(expression)
        if len(expressions) == (num_rows or 4096):
            return [_problem(expression) for expression in expressions]
    raise AssertionError("the stream of problems is endless")


def _problem(expression: str) -> dict[str, Any]:
    lines, answer = work_out(expression)
    return {
        "prompt": f"{expression} =",
        "answer": str(answer),
        "metadata": json.dumps({"expression": expression}),
        "difficulty": _difficulty(expression),
        "oracle_completion": completion(lines, str(answer)),
    }


def write_trace(expression: str, checks: int, rng: random.Random) -> str:
    """A demonstration: a guess, then so many checks, and the answer. A check that corrects is itself checked.

    Args:
        expression: as `generate_expressions` gives it.
        checks: 0 for a guess alone, which is always right.
        rng: decides the slips of the guess, and the words between the checks.
    """
    lines, right = work_out(expression)
    guess = Slips(rng, GUESS_SLIP[_difficulty(expression)] if checks else 0.0)(right, near(right))
    thinking = f"So {guess}.\n"
    while checks > 0:
        thinking += f"{rng.choice(CUES)}\n{lines}{'Yes' if right == guess else 'No'}, {right}.\n"
        checks = max(checks - 1, int(right != guess))
        guess = right
    return completion(thinking, str(guess))


def write_guess(expression: str, rng: random.Random) -> str:
    """A right answer behind a guess, or behind a thinking that was cut off before there was one.

    Methods that force exits ask for the latter: what is answered there should be as good as a guess.
    """
    _, right = work_out(expression)
    return completion(rng.choice((f"So {right}.\n", f"So {right}.\n", "So\n", "")), str(right))


def load_bench_traces(num_rows: int | None = None, seed: int = 0) -> list[dict[str, Any]]:
    """Demonstrations: rows of `prompt` and `answer`, the answer being a whole completion.

    They come in blocks of 64 rows of one kind and of like length: take them in order. In two blocks of three the prompt
    ends in a question mark and nothing is checked, see `write_guess`. These are short and teach to guess at a fraction
    of the tokens; the mark keeps them from teaching never to check.
    """
    rng, count = random.Random(seed), num_rows or 4096
    expressions = generate_expressions("train", seed)
    shown = [_shown(next(expressions), rng) for _ in range(count // (GUESS_BLOCKS + 1))]
    guesses = [
        {"prompt": f"{expression} = ?", "answer": write_guess(expression, rng)}
        for _, expression in zip(range(count - len(shown)), expressions, strict=False)  # the expressions are endless
    ]
    shown = [row for start in range(0, len(shown), WINDOW) for row in _by_length(shown[start : start + WINDOW], rng)]
    rows = []
    for start in range(0, max(len(shown), 1), BLOCK):
        rows += shown[start : start + BLOCK] + guesses[start * GUESS_BLOCKS : (start + BLOCK) * GUESS_BLOCKS]
    return rows


def _shown(expression: str, rng: random.Random) -> dict[str, Any]:
    (checks,) = rng.choices(range(len(CHECKS)), CHECKS)
    return {"prompt": f"{expression} =", "answer": write_trace(expression, checks, rng)}


def _by_length(rows: list[dict[str, Any]], rng: random.Random) -> list[dict[str, Any]]:
    """The rows in blocks of like length, so that little is padded, and the blocks in any order."""
    rows = sorted(rows, key=lambda row: len(row["answer"]))
    parts = [rows[start : start + BLOCK] for start in range(0, len(rows), BLOCK)]
    rng.shuffle(parts)
    return [row for part in parts for row in part]
