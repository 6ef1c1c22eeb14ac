r"""Whether two answers, as `concise_rl.verify.verifiers.values` reads them, say the same.

Numbers in digits are compared exactly; where one is a decimal that may be rounded, relative to their size. Formulas are
compared by value, in 40 digits, and where they hold variables at several points: what differs there is wrong before
anything is simplified. What numbers cannot tell, as functions without a name, math-verify compares.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

import mpmath
import sympy
from sympy.core.function import AppliedUndef

from concise_rl.verify.verifiers import words
from concise_rl.verify.verifiers.numeric import POINTS, TOLERANCE, close, same_expressions, value_at
from concise_rl.verify.verifiers.values import Based, Clock, Formula, Number, Relation, Table, Text, Union, is_name
from concise_rl.verify.verifiers.values import Sequence as Items

_MAX_ITEMS = 60
_FLIPPED = {"<": ">", ">": "<", r"\le": r"\ge", r"\ge": r"\le"}


def equal(gold: Any, answer: Any) -> bool:
    """Whether an answer says what the gold answer says. Forms that it may leave out: see the modules of each.

    Raises:
        TooLargeError, RecursionError: where it cannot be told.
    """
    if isinstance(answer, Relation) and not _is_inequality(answer) and not isinstance(gold, Relation):
        return _right_side(answer, strict=False, compare=lambda value: equal(gold, value))
    if isinstance(gold, Relation) and not _is_inequality(gold) and not isinstance(answer, Relation):
        return _right_side(gold, strict=True, compare=lambda value: equal(value, answer))
    if isinstance(gold, Relation) and isinstance(answer, Relation):
        return _equal_relations(gold, answer)
    if _is_set(gold) and _is_set(answer):
        return _equal_sets(gold, answer)
    for kind, compare in _COMPARED:
        if isinstance(gold, kind) or isinstance(answer, kind):
            return compare(gold, answer)
    return _equal_quantities(gold, answer)


def within(gold: Any, answer: Any, tolerance: float) -> bool:
    """Whether two numbers are at most so far apart; an answer may name what it gives, as `x = 5.4`."""
    if isinstance(answer, Relation) and not _is_inequality(answer):
        return _right_side(answer, strict=False, compare=lambda value: within(gold, value, tolerance))
    numbers = [_expression(value) for value in (gold, answer)]
    if any(number is None or number.free_symbols for number in numbers):
        return False
    one, other = (None if number is None else value_at(number, *POINTS[0]) for number in numbers)
    return one is not None and other is not None and abs(one - other) <= tolerance * (1 + 1e-9)


def _is_inequality(value: Any) -> bool:
    return isinstance(value, Relation) and any(sign in {"<", ">", r"\le", r"\ge", r"\ne"} for sign in value.signs)


def _right_side(relation: Relation, strict: bool, compare: Callable[[Any], bool]) -> bool:
    """Compare what an equation gives its left side: a name, in answers also a formula but no multiple; or a number."""
    left, right = relation.sides[0], relation.sides[-1]
    if isinstance(left, Number) or (isinstance(left, Formula) and not left.expression.free_symbols):
        return all(equal(side, right) for side in relation.sides[:-1]) and compare(right)
    named = is_name(relation.sources[0])
    multiple = isinstance(left, Formula) and left.source[:1] in "-0123456789"
    return (named or not (strict or multiple)) and compare(right)


def _equal_relations(gold: Relation, answer: Relation) -> bool:
    if _is_inequality(gold) != _is_inequality(answer):
        return False
    if _is_inequality(gold):
        one, other = _as_set(gold), _as_set(answer)
        if one is not None and other is not None and gold.signs != (r"\ne",):
            return _variable(gold) == _variable(answer) and equal(one, other)
    if len(gold.signs) == len(answer.signs) == 1:
        return _proportional(gold, answer)
    return _equal_chains(gold, answer)


def _equal_chains(gold: Relation, answer: Relation) -> bool:
    if {*gold.signs, *answer.signs} == {"="}:
        return equal(gold.sides[0], answer.sides[0]) and equal(gold.sides[-1], answer.sides[-1])
    if gold.signs != answer.signs:
        turned = tuple(_FLIPPED.get(sign, sign) for sign in reversed(answer.signs))
        answer = replace(answer, signs=turned, sides=answer.sides[::-1])
    return gold.signs == answer.signs and _pairwise(gold.sides, answer.sides)


def _proportional(gold: Relation, answer: Relation) -> bool:
    """Whether one equation or inequality is a multiple of the other."""
    one, other = _difference(gold), _difference(answer)
    if one is None or other is None or _names(one) != _names(other) or not _names(one):
        return gold.signs == answer.signs and _pairwise(gold.sides, answer.sides)
    factors = [_ratio(one, other, *point) for point in POINTS]
    known = [factor for factor in factors if factor is not None]
    if not known and one.has(AppliedUndef):  # f(x) = 2x: no value in numbers
        return gold.signs == answer.signs and _pairwise(gold.sides, answer.sides)
    if len(known) < 2 or any(not close(factor, known[0]) for factor in known):
        return False
    if gold.signs[0] in {"=", r"\ne"}:
        return gold.signs == answer.signs
    positive = mpmath.re(known[0]) > 0
    return gold.signs[0] == (answer.signs[0] if positive else _FLIPPED.get(answer.signs[0]))


def _difference(relation: Relation) -> sympy.Expr | None:
    left, right = (_expression(side) for side in relation.sides)
    return (
        None if left is None or right is None else sympy.Add(left, sympy.Mul(-1, right, evaluate=False), evaluate=False)
    )


def _names(expression: sympy.Expr) -> set[str]:
    return {str(symbol) for symbol in expression.free_symbols}


def _ratio(one: sympy.Expr, other: sympy.Expr, base: str, sign: int) -> Any:
    above, below = value_at(one, base, sign), value_at(other, base, sign)
    return None if above is None or below is None or below == 0 or above == 0 else above / below


def _variable(relation: Relation) -> str:
    return next(source for source in relation.sources if is_name(source))


def _as_set(value: Any) -> Any:
    """An interval or union that says what an inequality in one variable says. None where it is no such."""
    if isinstance(value, Items | Union) and not (isinstance(value, Items) and value.brackets == ""):
        return value
    if isinstance(value, Items):
        parts = [_as_set(item) for item in value.items if _is_inequality(item)]
        return Union(tuple(parts)) if len(parts) == len(value.items) and None not in parts else None
    if not _is_inequality(value):
        return None
    names = [i for i, source in enumerate(value.sources) if is_name(source) and _variable_like(value.sides[i])]
    if len(names) != 1 or len(value.sides) > 3:
        return None
    return _interval(value, names[0])


def _variable_like(value: Any) -> bool:
    return isinstance(value, Formula) and bool(value.expression.free_symbols)


def _interval(relation: Relation, place: int) -> Items | Union | None:
    below, above = Formula(-sympy.oo, "-\\infty"), Formula(sympy.oo, "\\infty")
    opening, closing, low, high = "(", ")", below, above
    for i, sign in enumerate(relation.signs):
        if sign == r"\ne" and len(relation.signs) == 1:
            hole = relation.sides[1 - place]
            return Union((Items("()", (below, hole)), Items("()", (hole, above))))
        if sign not in _FLIPPED:
            return None
        upper = (i == place) == (sign in {"<", r"\le"})  # the bound stands right of the variable and is larger, or so
        bound = relation.sides[i + 1] if i == place else relation.sides[i]
        if upper:
            high, closing = bound, "]" if sign in {r"\le", r"\ge"} else ")"
        else:
            low, opening = bound, "[" if sign in {r"\le", r"\ge"} else "("
    return Items(opening + closing, (low, high))


def _is_set(value: Any) -> bool:
    return isinstance(value, Union) or _as_set(value) is not None


def _equal_sets(gold: Any, answer: Any) -> bool:
    one, other = _as_set(gold), _as_set(answer)
    members = [value.items if isinstance(value, Union) else (value,) for value in (one, other)]
    if len(members[0]) == len(members[1]) == 1:
        return _equal_items(members[0][0], members[1][0])
    return _matched(members[0], members[1])


def _equal_items(gold: Any, answer: Any) -> bool:
    """Lists and sets in any order; points and intervals in theirs. A point may lack its brackets."""
    if not isinstance(answer, Items):
        return (
            isinstance(gold, Items)
            and len(gold.items) == 1
            and gold.brackets in {"", "{}"}
            and equal(gold.items[0], answer)
        )
    if not isinstance(gold, Items):
        same = [item for item in answer.items if equal(gold, item)]
        return answer.brackets in {"", "{}"} and len(same) == len(answer.items) > 0
    bare = "" in {gold.brackets, answer.brackets}
    if gold.brackets in {"", "{}"} and answer.brackets in {"", "{}"}:
        return _matched(gold.items, answer.items)
    if gold.brackets == answer.brackets:
        return _pairwise(gold.items, answer.items)
    one_or_other = gold.brackets + answer.brackets
    if bare and one_or_other == "()" and not any(_is_infinite(item) for item in (*gold.items, *answer.items)):
        return _pairwise(gold.items, answer.items)
    return bare and one_or_other == "[]" and len(gold.items) > 2 and _matched(gold.items, answer.items)


def _is_infinite(value: Any) -> bool:
    return isinstance(value, Formula) and value.expression.has(sympy.oo, -sympy.oo)


def _pairwise(gold: Sequence[Any], answer: Sequence[Any]) -> bool:
    return len(gold) == len(answer) and all(equal(one, other) for one, other in zip(gold, answer, strict=True))


def _matched(gold: Sequence[Any], answer: Sequence[Any]) -> bool:
    """Whether each side holds nothing that the other lacks, in any order."""
    if max(len(gold), len(answer)) > _MAX_ITEMS:
        return _pairwise(gold, answer)
    ordered = any(isinstance(item, Text) and len(item.words) > 1 for item in gold)
    if ordered or (len(gold) == len(answer) and _pairwise(gold, answer)):
        return _pairwise(gold, answer)
    return all(any(equal(one, other) for other in answer) for one in gold) and all(
        any(equal(one, other) for one in gold) for other in answer
    )


def _equal_tables(gold: Any, answer: Any) -> bool:
    if not (isinstance(gold, Table) and isinstance(answer, Table)) or gold.kind != answer.kind:
        return False
    if len(gold.rows) != len(answer.rows):
        return False
    if gold.kind == "cases":
        return _equal_cases(gold.rows, answer.rows)
    return all(_pairwise(one, other) for one, other in zip(gold.rows, answer.rows, strict=True))


def _equal_cases(gold: Iterable[Any], answer: Iterable[Any]) -> bool:
    others = {"else", "otherwise"}
    plain = [
        [replace(c, words="otherwise") if isinstance(c, Text) and c.words.lower() in others else c for c in row]
        for row in gold
    ]
    rows = [
        [replace(c, words="otherwise") if isinstance(c, Text) and c.words.lower() in others else c for c in row]
        for row in answer
    ]
    return all(any(_pairwise(one, other) for other in rows) for one in plain)


def _equal_texts(gold: Any, answer: Any) -> bool:
    """Words by their letters. One letter may stand in `\\text{}` or not."""
    one, other = _words(gold), _words(answer)
    if one is None or other is None:
        return False
    if len(one) == 1 and not (isinstance(gold, Text) and isinstance(answer, Text)):
        return one == other
    return words.canonical(one) == words.canonical(other) != ""


def _words(value: Any) -> str | None:
    if isinstance(value, Text):
        return value.words
    if isinstance(value, Formula) and not value.percent:
        letters = value.source.replace(" ", "")
        return letters if letters.isalpha() else None
    return None


def _equal_based(gold: Any, answer: Any) -> bool:
    """The same digits in the same base, which may be left out. Base ten is what numbers are in."""
    values = []
    for value in (gold, answer):
        if isinstance(value, Based) and value.base != 10:
            values.append((value.digits, value.base))
        elif isinstance(value, Based | Number):
            values.append(
                (
                    value.digits if isinstance(value, Based) else str(value.value),
                    10 if isinstance(value, Based) else None,
                )
            )
        else:
            digits = _words(value) or (value.source if isinstance(value, Formula) else "")
            values.append((digits, None))
    (one, base), (other, other_base) = values
    return one == other and (base == other_base or other_base is None or (base is None and other_base == 10))


def _equal_clocks(gold: Any, answer: Any) -> bool:
    """Times by their parts; ratios by value, also when written as fractions."""
    if isinstance(gold, Clock) and isinstance(answer, Clock):
        if not words.same_tail(gold.tail, answer.tail):
            return False
        times = all(len(value.digits.rpartition(":")[2]) == 2 for value in (gold, answer))
        if times or len(gold.parts) != 2 or len(answer.parts) != 2:
            return _pairwise(gold.parts, answer.parts)
    one, other = (_quotient(value) if isinstance(value, Clock) else value for value in (gold, answer))
    return one is not None and other is not None and equal(one, other)


def _quotient(value: Clock) -> Any:
    """The value of a ratio of two numbers."""
    expressions = [found for part in value.parts if (found := _expression(part)) is not None]
    if len(expressions) != len(value.parts) or len(expressions) != 2 or expressions[1] == 0:
        return None
    if all(isinstance(part, Number) for part in value.parts):
        return Number(value.parts[0].value / value.parts[1].value)
    return Formula(
        sympy.Mul(expressions[0], sympy.Pow(expressions[1], -1, evaluate=False), evaluate=False), value.digits
    )


_COMPARED: list[tuple[Any, Callable[[Any, Any], bool]]] = [
    (Based, _equal_based),
    (Clock, _equal_clocks),
    (Text, _equal_texts),
    (Table, _equal_tables),
    (Union | Relation, lambda gold, answer: False),
    (Items, _equal_items),
]


def _equal_quantities(gold: Number | Formula, answer: Number | Formula) -> bool:
    """With units that agree; where one side alone is in per cent, as they are or as a share. 0.5 is 50 per cent."""
    if not words.same_tail(gold.tail, answer.tail):
        return False
    if gold.percent == answer.percent:
        return _same_value(gold, answer)
    share = isinstance(gold, Number) and not gold.percent and abs(gold.value) < 1
    return (_same_value(gold, answer) and not share) or any(
        _same_value(one, other)
        for one, other in ((_share(gold), answer), (gold, _share(answer)))
        if one is not None and other is not None
    )


def _share(value: Number | Formula) -> Number | Formula | None:
    """What per cent are of one; None for what is not in per cent."""
    if not value.percent:
        return None
    if isinstance(value, Number):
        return replace(value, value=value.value / 100, places=None if value.places is None else value.places + 2)
    return replace(value, expression=sympy.Mul(value.expression, sympy.Rational(1, 100), evaluate=False))


def _same_value(gold: Number | Formula, answer: Number | Formula) -> bool:
    if isinstance(gold, Number) and isinstance(answer, Number):
        return _same_number(gold, answer)
    one, other = _expression(gold), _expression(answer)
    assert one is not None and other is not None
    decimals = [value.places for value in (gold, answer) if isinstance(value, Number)]
    return same_expressions(
        one, other, rounded=any(places is not None for places in decimals) and _rounds(gold, answer)
    )


def _rounds(gold: Number | Formula, answer: Number | Formula) -> bool:
    """Whether a decimal may stand for the other side rounded."""
    return not any(isinstance(value, Number) and value.value.denominator == 1 for value in (gold, answer))


def _same_number(gold: Number, answer: Number) -> bool:
    """Exact numbers exactly. A whole number is never rounded; two decimals agree in the digits that both have."""
    one, other = gold.value, answer.value
    if one == other or (gold.places is None and answer.places is None):
        return one == other
    if 1 in {one.denominator, other.denominator} or abs(one - other) > TOLERANCE * max(abs(one), abs(other)):
        return False
    places = [number.places for number in (gold, answer) if number.places is not None]
    return len(places) == 1 or abs(one - other) <= Fraction(1, 2) * Fraction(10) ** -min(places)


def _expression(value: Any) -> sympy.Expr | None:
    if isinstance(value, Number):
        return sympy.Rational(value.value.numerator, value.value.denominator)
    return value.expression if isinstance(value, Formula) else None
