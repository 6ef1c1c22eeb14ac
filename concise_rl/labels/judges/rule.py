"""The answers that a passage states, and the run's own verifier to judge them."""

import functools
import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence

from pydantic import Field

from concise_rl.labels.judges import JudgeOptions, Passage, problem_of
from concise_rl.labels.judges.claims import claims
from concise_rl.verify.pool import Item, VerifierPool

_NUMBER = re.compile(r"-?[\d,]*\.?\d+")
_WRITTEN_OTHERWISE = re.compile(r"-?[\d.,]+\s*\\?%|-?\d+\s*/\s*\d+|(?!.*\\(?:times|cdot|div))[^+*]*\\.*", re.DOTALL)


class RuleJudge:
    r"""Looks for what a passage states as a result, and has the verifier compare it with the row's answer.

    An answer is stated in a `\boxed{}`, or it is what a clause ends with, after `=`, `:`, `is`, `gives`, `so`, `yes`
    and the like. Questions and suppositions (`if`, `let`, `suppose`) state nothing, and neither does a line of
    arithmetic whose result the next line goes on with. What is no answer at all the verifier turns down. Each answer to
    a row is judged once, all of a call in one batch.
    """

    columns = ()

    class Options(JudgeOptions):
        """What can be set."""

        max_words: int = Field(8, ge=1)
        """An answer has at most this many words, and twice those of the gold answer if that is more. Longer ones are
        prose."""
        max_characters: int = Field(120, ge=1)
        """An answer has at most this many characters, and four times those of the gold answer if that is more."""

    def __init__(self, options: Options, verifier: VerifierPool) -> None:
        """
        Args:
            options: see `Options`.
            verifier: the run's.
        """
        self.options, self.verifier = options, verifier
        self.counters: Counter[str] = Counter(answers=0, unjudged_answers=0)

    def states(self, passages: Sequence[Passage]) -> list[bool | None]:
        """See `Judge.states`. None where the verifier had no verdict on an answer of it, and no other was right."""
        rows = {id(passage.row): passage.row for passage in passages}
        keys = {row: repr(sorted(content.items())) for row, content in rows.items()}
        asked = [[(keys[id(passage.row)], answer) for answer in self._answers(passage)] for passage in passages]
        items = {
            (row, answer): (self.verifier.gold_response({"answer": answer}), passage.row)
            for passage, of_one in zip(passages, asked, strict=True)
            for row, answer in of_one
        }
        verdicts = dict(zip(items, self._judge(list(items.values())), strict=True))
        return [_stated([verdicts[key] for key in of_one]) for of_one in asked]

    def close(self) -> None:
        """Nothing is held."""

    def _answers(self, passage: Passage) -> list[str]:
        """What is claimed with an end in a passage."""
        gold = str(passage.row["answer"])
        characters = max(self.options.max_characters, 4 * len(gold))
        words = max(self.options.max_words, 2 * len(gold.split()))
        found, ends = _claims(passage.thinking, problem_of(passage.row), gold, characters, words)
        return found[bisect_right(ends, passage.start) : bisect_right(ends, passage.end)]

    def _judge(self, items: Sequence[Item]) -> list[float | None]:
        """One batch. What the verifier counts stays what it was, the verdicts on whole completions."""
        if not items:
            return []
        row = items[0][1]
        counters = Counter(self.verifier.counters)
        # The gold answer goes along: a batch on which a verifier raises throughout would be taken for a broken one.
        verdicts = self.verifier.judge([*items, (self.verifier.gold_response(row), row)])[:-1]
        self.verifier.counters = counters
        self.counters["answers"] += len(items)
        self.counters["unjudged_answers"] += verdicts.count(None)
        return verdicts


def _stated(verdicts: Sequence[float | None]) -> bool | None:
    if 1.0 in verdicts:
        return True
    return None if None in verdicts else False


@functools.lru_cache(maxsize=1024)  # the passages of a completion ask one after the other, and then its lines
def _claims(thinking: str, problem: str, gold: str, characters: int, words: int) -> tuple[list[str], list[int]]:
    """Claimed answers of a bounded length, and where they end. Where the gold answer is a number, only what may be one:
    prose is long to read for a verifier."""
    is_number = bool(_NUMBER.fullmatch(gold))
    plain = gold.lstrip("-").isdigit() and "\\" not in thinking
    found = [
        claim
        for claim in claims(thinking, problem, plain)
        if (claim.plain or not is_number or _WRITTEN_OTHERWISE.fullmatch(claim.text))
        and len(claim.text) <= characters
        and len(claim.text.split()) <= words
    ]
    return [claim.text for claim in found], [claim.end for claim in found]
