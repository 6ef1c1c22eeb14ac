"""The truth about how a sum is worked out, read from the problem itself."""

import functools
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from concise_rl.labels.judges import JudgeOptions, Passage
from concise_rl.tasks.reasoning.tasks import parse_sum
from concise_rl.verify.pool import VerifierPool

_STEP = re.compile(r"(?P<from>-?\d+) (?P<sign>[+-]|plus|minus) (?P<term>\d+) (?:=|is) (?P<to>-?\d+)\.?$")
_VERDICT = re.compile(r"(?:So|Yes,|No,) (?:the answer is |that gives |this time it is )?(-?\d+)(?: again)?\.?$")


class OracleJudge:
    """Knows when a pass over all terms is complete. For sums worked out as `tiny:base` does, or in words as in
    `reasoning:traces`.

    A passage states the answer when it holds the end of the last line of a pass whose total is the gold answer, or of a
    line such as `So 7.` that names the gold answer when some pass is complete. A pass is a run of lines, other words
    between them or not, each of which takes the next term of the problem from the total that the line before reached. A
    slip changes the total, not that it is a pass.
    """

    columns = ("metadata",)

    class Options(JudgeOptions):
        """It has none."""

    def __init__(self, options: Options, verifier: VerifierPool) -> None:
        """Both are there because every judge takes them."""
        self.counters: Counter[str] = Counter()

    def states(self, passages: Sequence[Passage]) -> list[bool | None]:
        """See `Judge.states`.

        Raises:
            ValueError: for a row that is no such sum.
        """
        return [any(passage.start < end <= passage.end for end in _ends(passage)) for passage in passages]

    def close(self) -> None:
        """Nothing is held."""


def _ends(passage: Passage) -> tuple[int, ...]:
    return _statements(passage.thinking, tuple(_terms(passage.row)), str(passage.row["answer"]))


def _terms(row: Mapping[str, Any]) -> list[int]:
    """
    Raises:
        ValueError: for a row that is no such sum.
    """
    metadata = json.loads(row.get("metadata") or "{}")
    if metadata.get("source_dataset") != "chain_sum":
        raise ValueError("The judge `oracle` knows sums as in tiny:sums alone: take `rule` or `model` for other data.")
    return parse_sum(metadata["expression"])


@functools.lru_cache(maxsize=1024)  # the passages of a completion ask one after the other
def _statements(thinking: str, terms: tuple[int, ...], gold: str) -> tuple[int, ...]:
    """Where in the thinking the gold answer has been stated: the end of each line that does, in characters."""
    ends, reader, position = [], _Reader(terms), 0
    for line in thinking.splitlines(keepends=True):
        text = line.rstrip()
        if reader.read(text) == gold:
            ends.append(position + len(text))
        position += len(line)
    return tuple(ends)


class _Reader:
    """Follows the passes of a trace, line by line."""

    def __init__(self, terms: tuple[int, ...]) -> None:
        self.terms = terms
        self.done, self.total, self.complete = 0, 0, False

    def read(self, line: str) -> str | None:
        """The answer that a line states."""
        if step := _STEP.search(line):
            term = int(step["term"])
            return self._step(int(step["from"]), -term if step["sign"] in ("-", "minus") else term, int(step["to"]))
        verdict = _VERDICT.search(line)
        return verdict[1] if verdict and self.complete else None

    def _step(self, start: int, term: int, reached: int) -> str | None:
        """Take the next term, or the first of a new pass."""
        if not (0 < self.done < len(self.terms) and (start, term) == (self.total, self.terms[self.done])):
            self.done = int((start, term) == self.terms[:2])
        self.done, self.total = self.done + bool(self.done), reached
        if self.done < len(self.terms):
            return None
        self.complete = True
        return str(reached)
