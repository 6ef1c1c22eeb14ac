"""The answers that a passage states, and the run's own verifier to judge them."""

import re
from collections import Counter
from collections.abc import Sequence

from pydantic import Field

from concise_rl.judges import JudgeOptions, Passage
from concise_rl.verifiers.text import boxed
from concise_rl.verify import Item, VerifierPool

_SENTENCE = re.compile(r"(?<=[.!?])\s+|\n+")
_CLAUSE = re.compile(r",\s+(?=[A-Za-z]{2})|;\s+|\b(?:which|because|since|and|but|then|although)\b", re.IGNORECASE)
_SUPPOSED = re.compile(r"\W*(?:if|let|suppose|assume|assuming|say|maybe|perhaps|check|try)\b", re.IGNORECASE)
_RESULT = re.compile(
    r"(?<![<>!:=])=+|≈|\\approx|:(?=[\s*]|$)"
    r"|\b(?:is|are|be|equals?|gets?|got|gives?|have|yields?|makes?|becomes?|so|therefore|thus|hence|yes|no)\b",
    re.IGNORECASE,
)
_STEP = re.compile(r"(?P<left>[^=]+)=(?P<right>[^=]+)|(?P<left2>[-(\d][^=]*)\bis\b(?P<right2>[^=]+)")
_MARKS = " \t\r,;:!*$&"
_OPENING, _CLOSING = (r"\(", r"\["), (r"\)", r"\]", r"\\", ".")
_LOOKAHEAD = 200
"""Characters behind a passage in which its last line may be gone on with."""


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
        gold = str(passage.row["answer"])
        characters = max(self.options.max_characters, 4 * len(gold))
        words = max(self.options.max_words, 2 * len(gold.split()))
        found = stated_answers(passage.text, passage.thinking[passage.end : passage.end + _LOOKAHEAD])
        return [answer for answer in found if len(answer) <= characters and len(answer.split()) <= words]

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


def stated_answers(text: str, after: str = "") -> list[str]:
    """What a text states as results, in order, each once. Some of it will be no answer to anything.

    Args:
        text: of a passage.
        after: what comes behind it.
    """
    found = [answer for answer in boxed(text) if answer]
    sentences = _SENTENCE.split(text.rstrip())
    following = [*sentences[1:], _SENTENCE.split(after.lstrip(), maxsplit=1)[0]]
    for sentence, next_one in zip(sentences, following, strict=True):
        if not sentence.endswith("?") and "\\boxed" not in sentence and not _goes_on(sentence, next_one):
            found += filter(None, map(_result, (*_CLAUSE.split(sentence), sentence)))
    return list(dict.fromkeys(found))


def _goes_on(sentence: str, following: str) -> bool:
    """Whether a line of arithmetic is one step of several: the next line has its result on the left."""
    step, next_step = _step(sentence), _step(following)
    return bool(step and next_step and re.match(rf"{re.escape(step[1])}(?![\w.])", next_step[0]))


def _step(sentence: str) -> tuple[str, str] | None:
    """Both sides of a line of arithmetic, `3 + 4 = 7` or `3 plus 4 is 7`."""
    found = _STEP.fullmatch(sentence)
    return found and (_bare(found["left"] or found["left2"]), _bare(found["right"] or found["right2"]))


def _result(clause: str) -> str:
    """What stands behind the last word or sign of a result that has anything behind it; nothing where there is none."""
    if _SUPPOSED.match(clause):
        return ""
    tails = (_bare(clause[match.end() :]) for match in reversed(list(_RESULT.finditer(clause))))
    return next(filter(None, tails), "")


def _bare(text: str) -> str:
    """Without the punctuation and mathematics delimiters around it, and a closing bracket that was opened before it."""
    before = None
    while text != before:
        before, text = text, text.strip(_MARKS)
        for opening in _OPENING:
            text = text.removeprefix(opening)
        for closing in _CLOSING:
            text = text.removesuffix(closing)
    return text[:-1].rstrip() if text.endswith(")") and not re.search(r"[(\[]", text) else text
