r"""Answers that copy a formula of the problem: equal to the gold answer, and nothing was worked out.

Asked for $513^2 - 487^2$, `\boxed{513^2 - 487^2}` has the right value. It cannot be told from an answer where the gold
answer is that formula itself, as in "Which is larger, $2^{10}$ or $3^6$?": there it stands. Neither can it be told
where a formula was changed first, as in `513 \cdot 513 - 487^2`.
"""

import math
import re
from collections.abc import Iterator, Mapping
from fractions import Fraction
from functools import lru_cache
from typing import Any

import sympy

from concise_rl.verify.verifiers import latex
from concise_rl.verify.verifiers.values import Clock, Formula, Number, Relation, Sequence, is_name, parse, read

_SEGMENT = re.compile(r"\$\$(.+?)\$\$|\\\[(.+?)\\\]|\\\((.+?)\\\)|(?<!\\)\$(.+?)(?<!\\)\$", re.DOTALL)
_FRACTION = re.compile(r"-?(?:\\frac\{)?\s*(\d+)\s*(?:\}\{|/)\s*(\d+)\s*\}?")
_SIDES = {"=", "<", ">", r"\le", r"\ge", r"\ne", r"\approx", ",", ";"}


def problem_text(row: Mapping[str, Any]) -> str:
    """The problem of a row, empty where it has none. In training `prompt` is the conversation, `problem` its text."""
    text = row.get("problem", row.get("prompt", ""))
    if isinstance(text, str):
        return text
    return "\n".join(str(turn.get("content", "")) for turn in text if isinstance(turn, Mapping)) if text else ""


def is_copied(answer: str, row: Mapping[str, Any]) -> bool:
    """Whether an answer is a formula of the problem that leaves something to do, and is not how the gold answer stands.

    Args:
        answer: one that is right.
        row: with its `answer`, and `problem` or `prompt`.
    """
    value, gold_value, problem = read(answer), read(row["answer"]), problem_text(row)
    if not problem:
        return False
    if isinstance(value, Relation):
        if not is_name(value.sources[0]) and not isinstance(gold_value, Relation):
            return _stands_in(_squeezed(answer), _squeezed_formulas(problem))
        value = value.sides[-1]
    if not (_is_undone(value) or _is_other_form(value, gold_value) or _can_be_reduced(answer)):
        return False
    own, gold = _squeezed(answer.rpartition("=")[2]), _squeezed(row["answer"].rpartition("=")[2])
    if own == gold or (_is_undone(value) and _shape_of(value) == _shape_of(gold_value)):
        return False
    return _stands_in(own, _squeezed_formulas(problem)) or _shape_of(value) in _shapes(problem)


def _stands_in(text: str, problem: str) -> bool:
    """Whether a text stands in the problem, and not as a piece of a longer number or name."""
    return re.search(rf"(?<![\w.^]){re.escape(text)}(?![\w^]|\.\d)", problem) is not None


def _is_other_form(value: Any, gold: Any) -> bool:
    """Whether a fraction was to be a decimal, or the other way round."""
    if not isinstance(value, Number) or not isinstance(gold, Number) or value.value.denominator == 1:
        return False
    return (value.places is None) != (gold.places is None) or value.percent != gold.percent


def _can_be_reduced(answer: str) -> bool:
    """Whether an answer is a fraction of whole numbers with a common divisor."""
    found = _FRACTION.fullmatch(latex.clean(answer))
    return found is not None and math.gcd(int(found[1]), int(found[2])) > 1


def _is_undone(value: Any) -> bool:
    """Whether an operation is left: numbers in digits leave none, unless they are fractions that can be reduced."""
    if isinstance(value, Sequence):
        return any(_is_undone(item) for item in value.items)
    if isinstance(value, Clock):
        return False
    return isinstance(value, Formula) and bool(value.expression.args)


@lru_cache(maxsize=512)
def _squeezed(text: str) -> str:
    """One spelling for textual comparison: without blanks, braces around single characters, and signs of products."""
    text = re.sub(r"\\(?:cdot|times)(?![a-zA-Z])|\*", "*", latex.clean(text))
    return re.sub(r"\{(\w|\\[a-z]+)\}", r"\1", re.sub(r"\s+", "", text))


@lru_cache(maxsize=256)
def _squeezed_formulas(problem: str) -> str:
    """The formulas of a problem, a line each; all of it where none is marked."""
    segments = [next(filter(None, segment)) for segment in _SEGMENT.findall(problem)] or [problem]
    return "\n".join(map(_squeezed, segments))


def _shape_of(value: Any) -> Any:
    if isinstance(value, Formula):
        return _shape(value.expression)
    if isinstance(value, Number):
        return ("number", value.value, value.places, value.percent)
    return ("other", repr(value))


def _shape(expression: sympy.Basic) -> Any:
    """What an unevaluated expression looks like, whatever the order of its terms and factors."""
    if isinstance(expression, sympy.Rational):
        return ("number", Fraction(int(expression.p), int(expression.q)))
    if not expression.args:
        return ("atom", str(expression))
    parts = [_shape(argument) for argument in expression.args]
    return (
        expression.func.__name__,
        *(sorted(parts, key=repr) if isinstance(expression, sympy.Add | sympy.Mul) else parts),
    )


@lru_cache(maxsize=256)
def _shapes(problem: str) -> frozenset[Any]:
    """The shapes of all formulas in a problem, and of all parts of them."""
    return frozenset(
        _shape(part)
        for segment in _SEGMENT.findall(problem[:4000])
        for side in _sides(next(filter(None, segment)))
        if (expression := parse(side)) is not None
        for part in sympy.preorder_traversal(expression)
        if part.args
    )


def _sides(segment: str) -> Iterator[str]:
    if len(segment) <= 300:
        yield from (side for side in latex.split(latex.clean(segment), _SIDES)[0] if side)
