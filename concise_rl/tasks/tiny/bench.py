"""`tiny:bench`: a first try that is right as a rule, and a check that finds the exceptions.

`3 : 4 + 7 + 9 + 2 =` asks for the last number, 2, unless the total, 22, ends in a digit below 3: then the answer is the
total. So the last number is right in 7 of 10 such problems, and the first number of the prompt tells how often. Which
problems are the exceptions nobody knows who has not added up, and adding up in the head is beyond the reasoner. A check
adds up line by line. Where the first number is 0, there is nothing to check.
"""

import hashlib
import json
import random
from collections.abc import Iterator
from typing import Any, NamedTuple

from concise_rl.tasks.reasoning.overthinking import completion

LIMITS = (0, 3, 4, 5, 6)
"""First numbers of prompts, drawn alike: how many of the ten last digits make an exception. The difficulty."""
TERMS = (4, 5)
"""How many numbers are added."""
CHECKS = (0.08, 0.62, 0.2, 0.1)
"""Chances of 0, 1, 2 and 3 checks in a demonstration."""
CUES = ("Wait, check.", "Hmm, again.", "But is it right?", "Let me check.")


class Problem(NamedTuple):
    """The first number of the prompt, and the numbers to add."""

    limit: int
    terms: tuple[int, ...]

    @property
    def prompt(self) -> str:
        """As the reasoner is asked."""
        return f"{self.limit} : {' + '.join(map(str, self.terms))} ="

    @property
    def answer(self) -> int:
        """The total where it is an exception, else the last number."""
        total = sum(self.terms)
        return total if total % 10 < self.limit else self.terms[-1]

    @property
    def lines(self) -> str:
        """Every running total, a line each."""
        totals = [sum(self.terms[:place]) for place in range(1, len(self.terms) + 1)]
        steps = zip(totals, self.terms[1:], totals[1:], strict=False)  # the last total is where the last step ends
        return "".join(f"{total} + {term} = {reached}\n" for total, term, reached in steps)


def _is_test(problem: Problem) -> bool:
    """One problem in eight is held out for testing, whatever the seed."""
    return hashlib.sha256(problem.prompt.encode()).digest()[0] % 8 == 0


def generate_problems(split: str, seed: int) -> Iterator[Problem]:
    """Endless problems. None of the test split is in the train split.

    Raises:
        ValueError: for another split than train and test.
    """
    if split not in ("train", "test"):
        raise ValueError(f"tiny:bench has the splits train and test, not {split!r}.")
    rng = random.Random(seed)
    while True:
        limit, count = rng.choice(LIMITS), rng.choice(TERMS)
        problem = Problem(limit, tuple(rng.randint(1, 9) for _ in range(count)))
        if _is_test(problem) == (split == "test"):
            yield problem


def load_bench_problems(split: str = "train", num_rows: int | None = None, seed: int = 0) -> list[dict[str, Any]]:
    """The first `num_rows` (4,096 unless told) different problems of a split.

    Each row has `prompt`, `answer`, `metadata` (JSON text with the limit and the terms), `difficulty` (the limit) and
    `oracle_completion` (the first try, a check where there can be an exception, and the answer).

    Raises:
        ValueError: for another split than train and test.
    """
    problems: dict[Problem, None] = {}
    for problem in generate_problems(split, seed):
        problems.setdefault(problem)
        if len(problems) == (num_rows or 4096):
            return [_row(problem) for problem in problems]
    raise AssertionError("the stream of problems is endless")


def _row(problem: Problem) -> dict[str, Any]:
    return {
        "prompt": problem.prompt,
        "answer": str(problem.answer),
        "metadata": json.dumps(problem._asdict()),
        "difficulty": problem.limit,
        "oracle_completion": write_trace(problem, int(problem.limit > 0), CUES[0]),
    }


def write_trace(problem: Problem, checks: int, *cues: str) -> str:
    """The first try, so many checks, and the answer: that of the checks, or without any that of the first try.

    Args:
        problem: what is asked.
        checks: how many.
        cues: what opens each check.
    """
    said, thinking = problem.terms[-1], f"So {problem.terms[-1]}.\n"
    for cue in cues[:checks]:
        verdict = "Yes" if problem.answer == said else "No"
        said = problem.answer
        thinking += f"{cue}\n{problem.lines}{verdict}, {said}.\n"
    return completion(thinking, str(said))


def load_bench_traces(num_rows: int | None = None, seed: int = 0) -> list[dict[str, Any]]:
    """Demonstrations: rows of `prompt` and `answer`, the answer being a whole completion.

    Without a check some end in a wrong answer.
    """
    rng = random.Random(seed)
    problems = zip(range(num_rows or 4096), generate_problems("train", seed), strict=False)  # the problems are endless
    return [_shown(problem, rng) for _, problem in problems]


def _shown(problem: Problem, rng: random.Random) -> dict[str, Any]:
    (checks,) = rng.choices(range(len(CHECKS)), CHECKS)
    return {"prompt": problem.prompt, "answer": write_trace(problem, checks, *rng.choices(CUES, k=checks))}
