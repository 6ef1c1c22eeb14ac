"""`tiny:bench`: problems on which thinking too little and thinking too much are both possible.

| kind | prompt | answer | what is worth its tokens |
|---|---|---|---|
| easy | `0 : 4 + 7 + 9 + 2 =` | 2, the last number | nothing behind the first try |
| check 5 | `5 : 4 + 7 + 9 + 2 =` | 22, as it ends in a digit below 5; else the last number | a check, which adds up |
| work 3 | `3 : ( 4 + 7 + 9 + 2 ) =` | 22, as it ends in a digit below 3; else the last number | adding up |
| search | `8 : ( 3 , 5 , 8 ) + 4 + 9 =` | 18, as it ends in 8 | trying the candidates until one fits |
| hopeless | `? : 4 + 7 + 9 + 2 =` | nobody can know | nothing |

The last number is right in 10 - n of 10 problems *check n* and *work n*. Which are the exceptions nobody knows who has
not added up, and adding up in the head is beyond a model of this size. Of *check* an answer is said first and held
against the total; of *work* and *search* it comes last, or is guessed: most totals that end in 8 are 18.
"""

import hashlib
import json
import random
import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from concise_rl.tasks.reasoning.overthinking import completion

LIMITS = {"easy": (0,), "check": (3, 5), "work": (1, 3), "hopeless": (None,)}
"""How many of the ten last digits make an exception."""
KINDS = ("easy", "check", "work", "search", "hopeless")
ASKED = (6, 5, 5, 2, 2)
"""How often problems are of which kind."""
SHOWN = (3, 4, 4, 6, 1)
"""The same for demonstrations: a search takes longest to learn."""
CUES = ("Wait, check.", "Hmm, again.", "But is it right?", "Let me check.")
CUT = 0.06
"""Share of demonstrations that are cut anywhere and closed. What forces an exit finds an answer there."""


def _lines(terms: Sequence[int]) -> str:
    """Every running total, a line each."""
    totals = [sum(terms[:place]) for place in range(1, len(terms) + 1)]
    steps = zip(totals, terms[1:], totals[1:], strict=False)  # the last total is where the last step ends
    return "".join(f"{total} + {term} = {reached}\n" for total, term, reached in steps)


class Sum(NamedTuple):
    """A first number, None where the answer cannot be known, the numbers to add, and whether that comes first."""

    limit: int | None
    terms: tuple[int, ...]
    works: bool = False

    @property
    def prompt(self) -> str:
        """As the reasoner is asked."""
        terms = " + ".join(map(str, self.terms))
        return f"{'?' if self.limit is None else self.limit} : {f'( {terms} )' if self.works else terms} ="

    @property
    def difficulty(self) -> str:
        """`hopeless`, `easy`, or `check` or `work` with the first number."""
        if self.limit is None:
            return "hopeless"
        return f"{'work' if self.works else 'check'} {self.limit}" if self.limit else "easy"

    @property
    def answer(self) -> int:
        """The total where it is an exception, else the last number. Of what is hopeless, three digits of a hash."""
        if self.limit is None:
            return 100 + int.from_bytes(hashlib.sha256(repr(self.terms).encode()).digest()[:4]) % 900
        return self.found

    @property
    def found(self) -> int:
        """What a check finds: the answer, or the total where that cannot be known."""
        total = sum(self.terms)
        return total if self.limit is None or total % 10 < self.limit else self.terms[-1]

    @property
    def habit(self) -> tuple[float, ...]:
        """Chances of no check in a demonstration, of one, and so on. Of *work* the first is that of a guess."""
        if self.works:
            return (0.1, 0.15, 0.4, 0.35)
        if self.limit is None:
            return (0.1, 0.3, 0.35, 0.25)
        return (0.06, 0.34, 0.3, 0.2, 0.1) if self.limit else (0.2, 0.4, 0.25, 0.15)

    def guess(self, rng: random.Random) -> int:
        """The last number, which costs no thinking."""
        return self.terms[-1]

    def work_out(self) -> str:
        """The lines of a check."""
        return _lines(self.terms)

    def work(self, rng: random.Random) -> str:
        """The lines, and what they show."""
        return f"{_lines(self.terms)}Yes, {self.found}.\n"

    def shortest(self) -> str:
        """The lines where they come first; else a first try, and a check where there can be an exception."""
        if self.works:
            return completion(self.work(random.Random(0)), str(self.found))
        return _said(self, self.terms[-1], [CUES[0]] * bool(self.limit))


class Search(NamedTuple):
    """The digit that the right total ends in, candidates for its first number, and the numbers to add to that."""

    digit: int
    candidates: tuple[int, ...]
    terms: tuple[int, ...]
    works: bool = True

    @property
    def prompt(self) -> str:
        """As the reasoner is asked."""
        return f"{self.digit} : ( {' , '.join(map(str, self.candidates))} ) + {' + '.join(map(str, self.terms))} ="

    @property
    def difficulty(self) -> str:
        """`search`."""
        return "search"

    @property
    def answer(self) -> int:
        """The total of the candidate that fits."""
        (fits,) = [total for total in map(self._total, self.candidates) if total % 10 == self.digit]
        return fits

    @property
    def habit(self) -> tuple[float, ...]:
        """Chances of a guess, and of a search with no check behind it, with one, and with two."""
        return (0.08, 0.17, 0.4, 0.35)

    def guess(self, rng: random.Random) -> int:
        """Any total that ends in the digit."""
        lowest, highest = 1 + len(self.terms), 9 * (1 + len(self.terms))
        return rng.choice([total for total in range(lowest, highest + 1) if total % 10 == self.digit])

    def _total(self, candidate: int) -> int:
        return candidate + sum(self.terms)

    def search(self, order: Sequence[int]) -> str:
        """The candidates in an order, until one fits."""
        lines = ""
        for candidate in order:
            lines += f"Let {candidate}.\n{_lines((candidate, *self.terms))}"
            if self._total(candidate) == self.answer:
                break
            lines += "No.\n"
        return f"{lines}Yes, {self.answer}.\n"

    def work(self, rng: random.Random) -> str:
        """A search in any order."""
        return self.search(rng.sample(self.candidates, len(self.candidates)))

    @property
    def found(self) -> int:
        """What a check finds: the answer."""
        return self.answer

    def work_out(self) -> str:
        """The lines of a check: the candidate that fits once more."""
        (fits,) = [candidate for candidate in self.candidates if self._total(candidate) == self.answer]
        return f"Let {fits}.\n{_lines((fits, *self.terms))}"

    def shortest(self) -> str:
        """The candidates in the order of the prompt. Luck may need less."""
        return completion(self.search(self.candidates), str(self.answer))


Problem = Sum | Search


def _said(problem: Problem, said: int, cues: Sequence[str], thinking: str | None = None) -> str:
    """A first try, a check behind each cue, and the last answer."""
    thinking = f"So {said}.\n" if thinking is None else thinking
    for cue in cues:
        thinking += f"{cue}\n{problem.work_out()}{'Yes' if problem.found == said else 'No'}, {problem.found}.\n"
        said = problem.found
    return completion(thinking, str(said))


def write_trace(problem: Problem, checks: int, rng: random.Random) -> str:
    """A demonstration: a first try, or work where that comes first, so many checks behind it, and the answer.

    Args:
        problem: what is asked.
        checks: how many. Where work comes first, -1 for a guess in place of it.
        rng: decides the guess, the order of the candidates, and the words between the checks.
    """
    cues = rng.choices(CUES, k=max(checks, 0))
    if problem.works and checks >= 0:
        return _said(problem, problem.found, cues, problem.work(rng))
    return _said(problem, problem.guess(rng), cues)


def cut_trace(problem: Problem, trace: str, rng: random.Random) -> str:
    """A demonstration that ends anywhere in its thinking and answers with what was said last, or with a guess."""
    thinking = trace.partition("\n")[2].partition("</think>")[0]
    ends = [match.start() for match in re.finditer(r" |(?<=\n)", thinking)]
    kept = thinking[: rng.choice(ends)]
    said = re.findall(r"(?:So|Yes,|No,) (\d+)\.", kept)
    return completion(f"{kept}\n", said[-1] if said else str(problem.guess(rng)))


def _is_test(problem: Problem) -> bool:
    """One problem in eight is held out for testing, whatever the seed."""
    return hashlib.sha256(problem.prompt.encode()).digest()[0] % 8 == 0


def _draw(rng: random.Random, weights: Sequence[int]) -> Problem:
    terms = tuple(rng.randint(1, 9) for _ in range(4))
    (kind,) = rng.choices(KINDS, weights)
    if kind == "work":  # the last number is none of those before it: where it is said is then no question
        terms = (*terms[:3], rng.choice([n for n in range(1, 10) if n not in (*terms[:3], sum(terms[:2]))]))
    if kind == "search":
        candidates = tuple(rng.sample(range(1, 10), 3))
        return Search((rng.choice(candidates) + sum(terms[:2])) % 10, candidates, terms[:2])
    return Sum(rng.choice(LIMITS[kind]), terms, kind == "work")


def generate_problems(split: str, seed: int, weights: Sequence[int] = ASKED) -> Iterator[Problem]:
    """Endless problems. None of the test split is in the train split.

    Args:
        split: train or test.
        seed: the same problems again for the same seed.
        weights: of the kinds.

    Raises:
        ValueError: for another split than train and test.
    """
    if split not in ("train", "test"):
        raise ValueError(f"tiny:bench has the splits train and test, not {split!r}.")
    rng = random.Random(seed)
    while True:
        problem = _draw(rng, weights)
        if _is_test(problem) == (split == "test"):
            yield problem


def load_bench_problems(split: str = "train", num_rows: int | None = None, seed: int = 0) -> list[dict[str, Any]]:
    """The first `num_rows` (4,096 unless told) different problems of a split.

    Each row has `prompt`, `answer`, `metadata` (JSON text with the numbers), `difficulty` (the kind) and
    `oracle_completion` (the shortest that suffices).

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
        "difficulty": problem.difficulty,
        "oracle_completion": problem.shortest(),
    }


def load_bench_traces(num_rows: int | None = None, seed: int = 0) -> list[dict[str, Any]]:
    """Demonstrations: rows of `prompt` and `answer`, the answer being a whole completion.

    Without a check some end in a wrong answer, and so do all of what is hopeless.
    """
    rng = random.Random(seed)
    problems = zip(range(num_rows or 4096), generate_problems("train", seed, SHOWN), strict=False)  # they are endless
    return [_shown(problem, rng) for _, problem in problems]


def _shown(problem: Problem, rng: random.Random) -> dict[str, Any]:
    first = -1 if problem.works else 0
    (checks,) = rng.choices(range(first, first + len(problem.habit)), problem.habit)
    trace = write_trace(problem, checks, rng)
    return {"prompt": problem.prompt, "answer": cut_trace(problem, trace, rng) if rng.random() < CUT else trace}
