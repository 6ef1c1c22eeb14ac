r"""Answers that copy a formula of the problem: equal to the gold answer, and nothing was worked out.

Asked for $513^2 - 487^2$, `\boxed{513^2 - 487^2}` has the right value. It cannot be told from an answer where the gold
answer is that formula itself, as in "Which is larger, $2^{10}$ or $3^6$?": there it stands. Neither can it be told
where a formula was changed first, as in `513 \cdot 513 - 487^2`.
"""

import re
from collections.abc import Iterator, Mapping
from fractions import Fraction
from functools import lru_cache
from typing import Any

import sympy

from concise_rl.verifiers import latex
from concise_rl.verifiers.values import Clock, Formula, Number, Relation, Sequence, parse, read

_SEGMENT = re.compile(r"\$\$(.+?)\$\$|\\\[(.+?)\\\]|\\\((.+?)\\\)|(?<!\\)\$(.+?)(?<!\\)\$", re.DOTALL)
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
    value = read(answer)
    value = value.sides[-1] if isinstance(value, Relation) else value
    problem = problem_text(row)
    if not problem or not _is_undone(value):
        return False
    own, gold = _squeezed(answer.rpartition("=")[2]), _squeezed(row["answer"].rpartition("=")[2])
    if own == gold or _shape_of(value) == _shape_of(read(row["answer"])):
        return False
    return _stands_in(own, _squeezed(problem)) or _shape_of(value) in _shapes(problem)


def _stands_in(text: str, problem: str) -> bool:
    """Whether a text stands in the problem, and not as a piece of a longer number or name."""
    return re.search(rf"(?<![\w.^]){re.escape(text)}(?![\w^]|\.\d)", problem) is not None


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


def _shape_of(value: Any) -> Any:
    if isinstance(value, Formula):
        return _shape(value.expression)
    if isinstance(value, Number):
        return ("number", value.value)
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
