"""Whether two expressions have one value, told by numbers of 40 digits before anything is simplified."""

import math
from fractions import Fraction
from functools import lru_cache
from typing import Any

import math_verify.grader
import mpmath
import sympy

TOLERANCE = Fraction(2, 10**6)
"""Relative difference that a rounded decimal may have."""
_DIGITS, _AGREED = 40, 30
MAX_BITS = 2**20
"""An integer of more bits is not computed."""
_MAX_EXPONENT, _MAX_FACTORIAL = 2.0**64, 20_000
POINTS = (("0.7390851332151607", 1), ("1.6180339887498949", 1), ("2.2360679774997897", 1), ("1.3247179572447461", -1))
"""Where formulas are compared: a base for the values of their variables, and their sign."""


class TooLargeError(Exception):
    """A number that cannot be computed within reason."""


def same_expressions(gold: sympy.Expr, answer: sympy.Expr, rounded: bool = False) -> bool:
    """Whether two expressions have one value, wherever both have one.

    Args:
        gold: unevaluated.
        answer: unevaluated.
        rounded: a relative difference of `TOLERANCE` is none.

    Raises:
        TooLargeError: for a number too large to compute.
    """
    if gold == answer:
        return True
    for expression in (gold, answer):
        check_size(expression, _MAX_EXPONENT)
    compared = 0
    for point in POINTS if gold.free_symbols | answer.free_symbols else POINTS[:1]:
        one, other = value_at(gold, *point), value_at(answer, *point)
        if one is None or other is None or (point[1] < 0 and (_imaginary(one) or _imaginary(other))):
            continue
        if not close(one, other, float(TOLERANCE) if rounded else None):
            return False
        compared += 1
    if not compared:
        return _by_math_verify(gold, answer)
    if gold.free_symbols | answer.free_symbols or rounded:
        return True
    return _exactly(gold, answer)


def _exactly(gold: sympy.Expr, answer: sympy.Expr) -> bool:
    """Numbers that agree in the first digits: whether their difference, written out, is no other number than zero."""
    for expression in (gold, answer):
        check_size(expression, float(MAX_BITS))
    if gold.has(sympy.Float) or answer.has(sympy.Float):
        return True
    difference = sympy.expand(_evaluated(gold) - _evaluated(answer))
    return not (difference.is_Number and difference != 0)


def _evaluated(expression: Any) -> Any:
    """Built again bottom up, which evaluates it; sums and integrals stay."""
    if not expression.args or isinstance(expression, sympy.Sum | sympy.Product | sympy.Integral | sympy.Limit):
        return expression
    return expression.func(*(_evaluated(argument) for argument in expression.args))


def check_size(expression: sympy.Expr, limit: float) -> None:
    """Raise TooLargeError where an integer power in it has more than `limit` as exponent or, in bits, as size."""
    for node in sympy.preorder_traversal(expression):
        if isinstance(node, sympy.Pow) and not node.exp.free_symbols:
            exponent = _magnitude(node.exp)
            bits = (
                1.0 if node.base.free_symbols or limit == _MAX_EXPONENT else math.log2(max(2.0, _magnitude(node.base)))
            )
            if exponent * bits > limit:
                raise TooLargeError
        largest = _MAX_EXPONENT if limit == _MAX_EXPONENT else _MAX_FACTORIAL
        known = isinstance(node, sympy.factorial | sympy.binomial | sympy.gamma) and not node.free_symbols
        if known and _magnitude(node.args[0]) > largest:
            raise TooLargeError


@lru_cache(maxsize=512)
def _magnitude(expression: sympy.Expr) -> float:
    """The size of a number without variables, as a float; infinite beyond floats, and where it is not known."""
    if isinstance(expression, sympy.Rational):
        return abs(float(expression)) if max(abs(expression.p), expression.q).bit_length() < 1000 else math.inf
    if isinstance(expression, sympy.Pow):
        base, exponent = _magnitude(expression.base), _magnitude(expression.exp)
        return math.inf if exponent > 1000 or base > 1e300 else _power(base, exponent)
    if isinstance(expression, sympy.factorial):
        return math.inf if _magnitude(expression.args[0]) > 150 else math.gamma(_magnitude(expression.args[0]) + 1)
    if isinstance(expression, sympy.Add):
        return math.fsum(map(_magnitude, expression.args))
    if isinstance(expression, sympy.Mul):
        return math.prod(map(_magnitude, expression.args))
    if not expression.args:
        value = value_at(expression, *POINTS[0])
        return math.inf if value is None else float(abs(value))
    return max(10.0, *map(_magnitude, expression.args))


def _power(base: float, exponent: float) -> float:
    if base == 0:
        return 1.0
    return math.inf if exponent * abs(math.log10(base)) > 300 else max(base**exponent, base**-exponent)


def value_at(expression: sympy.Expr, base: str, sign: int) -> Any:
    """The value where each variable has a value of its own; None where there is none, or none that is finite."""
    names = sorted(expression.free_symbols, key=str)
    start, factor = sympy.Float(base, _DIGITS), sympy.Float("0.8414709848078965", _DIGITS)
    values = {name: sympy.I if str(name) == "i" else sign * (start + factor * _place(str(name))) for name in names}
    try:
        value = expression.evalf(_DIGITS, subs=values)
    except (ValueError, TypeError, ZeroDivisionError, OverflowError, NotImplementedError, AttributeError):
        return None
    if value.free_symbols or not value.is_number or value.has(sympy.nan, sympy.zoo):
        return None
    if value.has(sympy.oo, -sympy.oo):
        return mpmath.mpf("inf" if value == sympy.oo else "-inf") if value in {sympy.oo, -sympy.oo} else None
    parts = value.as_real_imag()
    if not all(part.is_Float or part.is_Rational for part in parts):
        return None
    with mpmath.workdps(_DIGITS):
        return mpmath.mpc(*(part._to_mpmath(140) for part in parts))


def _place(name: str) -> Any:
    """A number for each name, the same in all expressions."""
    return sympy.Rational(sum((i + 1) * ord(letter) for i, letter in enumerate(name)) % 97, 41)


def _imaginary(value: Any) -> bool:
    return abs(mpmath.im(value)) > mpmath.mpf(10) ** -20 * (1 + abs(value))


def close(one: Any, other: Any, tolerance: float | None = None) -> bool:
    if mpmath.isinf(one) or mpmath.isinf(other):
        return bool(one == other)
    with mpmath.workdps(_DIGITS):
        size = max(abs(one), abs(other))
        allowed = mpmath.mpf(10) ** -_AGREED if tolerance is None else mpmath.mpf(tolerance)
        return bool(abs(one - other) <= allowed * size)


def _by_math_verify(gold: sympy.Expr, answer: sympy.Expr) -> bool:
    """For what has no value in numbers."""
    return bool(math_verify.grader.sympy_expr_eq(gold, answer, float_rounding=6, numeric_precision=15))
