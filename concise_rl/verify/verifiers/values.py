r"""What an answer says: numbers, expressions, lists, points, intervals, relations, tables, words.

The outside of an answer is taken apart here; each expression within is read by latex2sympy, math-verify's own reader,
and left as it is written: nothing is computed.
"""

import re
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any

import sympy
from latex2sympy2_extended.latex2sympy2 import ConversionConfig, _Latex2Sympy

from concise_rl.verify.verifiers import latex, words

MAX_LENGTH = 1500
"""Characters of an answer that are read; a longer one is no answer."""
_RELATIONS = {"=", "<", ">", r"\le", r"\ge", r"\ne", r"\in", r"\approx", r"\equiv", r"\sim"}
_INTEGER = re.compile(r"[-+]?\d+")
_DECIMAL = re.compile(r"([-+]?)(\d*)\.(\d*)")
_REPEATING = re.compile(r"([-+]?)(\d*)\.(\d*)\\(?:overline|bar|dot)\{?(\d+)\}?")
_SCIENTIFIC = re.compile(
    r"([-+]?(?:\d+\.?\d*|\.\d+))(?:[eE]|\s*(?:\\times|\\cdot|\*|x)\s*10\s*\^\s*)\{?\s*([-+]?\s*\d+)\s*\}?"
)
_FRACTION = re.compile(r"([-+]?)\s*(?:(\d+)\s*)?\\frac\{\s*([-+]?\d+)\s*\}\{\s*([-+]?\d+)\s*\}")
_SLASH = re.compile(r"([-+]?\d+)\s*/\s*(\d+)")
_BASED = re.compile(r"([-+]?)\s*(?:\\text\{)?\(?([0-9A-Z]+)\)?\}?\s*_\s*\{?\s*(?:\\text\{)?([a-z]+|\d+)\}?\s*\}?")
_TABLE = re.compile(r"\\begin\{([pbBvV]?matrix|cases|array|aligned)\}(?:\{[lcr|]*\})?(.*)\\end\{\1\}", re.DOTALL)
_COMPOUND = re.compile(r"\s*(-?[\d.]+)\s*\\text\{([^{}\d]+?)(?:,?\s*and)?\s*\}")
"""One of several quantities that make up one, as hours and minutes do."""
_CONDITION = re.compile(r"^[\s,]*(?:\\text\{\s*)?(?:,?\s*(?:if|for|when|where))\b\s*\}?")
_TRIGONOMETRIC = re.compile(r"\\(?:arc)?(?:sin|cos|tan|cot|sec|csc)")
_RESERVED = re.compile(r"\\[a-zA-Z]+|([IEe])_(\{\w+\}|\w)")
"""Names with a subscript that latex2sympy takes for the imaginary unit or Euler's number."""
_DIVISORS = re.compile(r"\\(gcd|lcm)\s*(?=\([^()]*[a-zA-Z][^()]*\))")
"""Of names; latex2sympy takes them for polynomials, whose greatest common divisor is 1."""
_DEGREES = re.compile(r"(\d+(?:\.\d+)?|\\[a-z]+)\s*°")


@dataclass(frozen=True)
class Number:
    """A number in digits. `places` behind the point where it is a decimal, which may be rounded; None where exact."""

    value: Fraction
    places: int | None = None
    percent: bool = False
    tail: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Formula:
    """An expression that is no number in digits."""

    expression: sympy.Expr
    source: str
    percent: bool = False
    tail: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Text:
    """Words."""

    words: str


@dataclass(frozen=True)
class Based:
    """Digits in a base."""

    digits: str
    base: int


@dataclass(frozen=True)
class Clock:
    """Numbers between colons: a time, or a ratio."""

    parts: tuple[Any, ...]
    digits: str
    tail: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Sequence:
    """Values in brackets, such as `()`, `[)` or `{}`; without any in a list."""

    brackets: str
    items: tuple[Any, ...]


@dataclass(frozen=True)
class Union:
    """Of intervals and sets."""

    items: tuple[Any, ...]


@dataclass(frozen=True)
class Relation:
    """Sides and the signs between them: an equation, an inequality, or a chain."""

    signs: tuple[str, ...]
    sides: tuple[Any, ...]
    sources: tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """A matrix, or the cases of a function."""

    kind: str
    rows: tuple[tuple[Any, ...], ...]


class _Reader(_Latex2Sympy):
    """latex2sympy that does not compute binomials while it reads."""

    def convert_binom(self, binom: Any) -> sympy.Expr:
        upper, lower = self.convert_expr(binom.upper), self.convert_expr(binom.lower)
        return sympy.binomial(upper, lower, evaluate=False)


@lru_cache(maxsize=2048)
def read(text: str, thousands: bool = True) -> Any:
    """Read an answer. None where it says nothing that could be compared.

    Args:
        text: of the answer alone, as it stands in a box or behind `the answer is`.
        thousands: whether `10,080` is one number; otherwise two.

    Raises:
        TooDeepError, RecursionError: for brackets nested beyond reading.
    """
    if len(text) > MAX_LENGTH:
        return None
    cleaned = latex.clean(text)
    return _structure(latex.join_thousands(cleaned) if thousands else cleaned)


def _structure(text: str) -> Any:
    """The outermost structure first: list, relation, union, brackets, table; then what has no structure."""
    text = latex.unwrap(text)
    if not text:
        return None
    parts, _ = latex.split(text, {",", ";"})
    parts = [part for part in parts if part]
    if len(parts) > 1:
        return _all("", parts)
    text = latex.unwrap(parts[0]) if parts else ""
    sides, signs = latex.split(text, _RELATIONS)
    if signs:
        return _relation(sides, signs)
    members, joined = latex.split(text, {r"\cup"})
    if joined:
        items = [_structure(member) for member in members]
        return None if None in items else Union(tuple(items))
    return _bracket(text)


def _all(brackets: str, parts: list[str]) -> Any:
    items: tuple[Any, ...] = tuple(_structure(part) for part in parts)
    if brackets in {"", "{}"}:  # of 1 \\pm x there are two
        items = tuple(
            member
            for item in items
            for member in (item.items if isinstance(item, Sequence) and item.brackets == "" else (item,))
        )
    return None if None in items else Sequence(brackets, items)


def _relation(sides: list[str], signs: list[str]) -> Any:
    if not sides[0] and len(sides) == 2 and signs[0] in {"=", r"\approx"}:
        return _structure(sides[1])
    if signs == [r"\in"]:
        return _structure(sides[1])
    if signs[-1] in {r"\approx", r"\sim"}:  # the exact side, unless it is only a name
        kept = sides[-1] if len(signs) == 1 and is_name(sides[0]) else None
        return _structure(kept) if kept is not None else _approximated(sides, signs)
    values = tuple(_structure(side) for side in sides)
    return None if None in values else Relation(tuple(signs), values, tuple(sides))


def _approximated(sides: list[str], signs: list[str]) -> Any:
    return _relation(sides[:-1], signs[:-1]) if len(signs) > 1 else _structure(sides[0])


def is_name(text: str) -> bool:
    """Whether the left side of an equation is a name for its right side: `x`, `a_1`, `f(x)`, `AB`."""
    name = re.sub(r"\\text\{[^{}]*\}", "T", text).strip()
    name = re.sub(r"\\(?:angle|triangle|overline|vec|mathbb|mathcal|widehat|hat|bar)(?![a-zA-Z])\s*", "", name)
    return bool(
        re.fullmatch(
            r"\|?\{?(?:\\?[A-Za-z]+)\}?'?(?:_\{?[\w+\-, ]+\}?)?(?:\^\{?(?:-1|\(\d\)|\\prime)\}?)?(?:\([^()=]*\))?\|?",
            name,
        )
    )


def _bracket(text: str) -> Any:
    found = latex.bracketed(text)
    table = _TABLE.fullmatch(found[1].strip() if found and found[0] in "([" else text)
    if table:
        return _table(table[1], table[2])
    if found is None:
        return _single(text)
    opening, content, close = found
    brackets = opening.strip("\\") + close.strip("\\")
    if brackets == "langlerangle":
        brackets = "()"
    parts = [part for part in latex.split(content, {",", ";"})[0] if part]
    if brackets == "{}" and opening == r"\{":
        named, bars = latex.split(content, {":", r"\mid", "|"})
        if len(bars) == 1 and is_name(named[0].partition(r"\in")[0].strip()):
            return _structure(named[1])
        return _all("{}", parts)
    if len(parts) > 1:
        return _all(brackets, parts)
    return _structure(content) if brackets == "()" or not parts else _single(text)


def _table(kind: str, body: str) -> Any:
    rows = [row for row in body.split(r"\newline") if row.strip()]
    cells = [latex.split(row, {"&"})[0] for row in rows]
    if kind == "cases":
        cells = [[_CONDITION.sub("", cell) if i else cell.rstrip(" ,") for i, cell in enumerate(row)] for row in cells]
    values = tuple(tuple(_structure(cell) for cell in row) for row in cells)
    if not values or any(value is None for row in values for value in row):
        return None
    return Table("cases" if kind == "cases" else "matrix", values)


def _single(text: str) -> Any:
    """A value without structure around it."""
    text = latex.unwrap(text)
    plus_minus, signs = latex.split(text, {r"\pm"})
    if len(signs) == 1 and plus_minus[1]:
        left = plus_minus[0]
        return _all("", [f"{left} + ({plus_minus[1]})" if left else plus_minus[1], f"{left} - ({plus_minus[1]})"])
    if not signs and text.count(r"\pm") == 1 and text.startswith(r"\frac"):
        return _all("", [text.replace(r"\pm", sign) for sign in "+-"])
    if text in {r"\emptyset", r"\{\}", r"\{ \}"}:
        return Sequence("{}", ())
    based = _BASED.fullmatch(text)
    if based:
        return _based(based)
    return _quantity(text)


def _based(found: re.Match[str]) -> Any:
    base = words.NUMBERS.get(found[3]) if found[3].isalpha() else int(found[3])
    if base is None or not 2 <= base <= 36 or any(int(digit, 36) >= base for digit in found[2]):
        return None if found[3].isdigit() and found[2].isdigit() else _quantity(found.group())
    return Based(found[1].strip("+") + (found[2].lstrip("0") or "0"), base)


def _quantity(text: str) -> Any:
    """A number, a formula, a time or a ratio, with the words behind it; or words."""
    pieces = _COMPOUND.findall(text)
    if len(pieces) > 1 and not _COMPOUND.sub("", text).strip():
        return _all("compound", [rf"{digits}\text{{{unit}}}" for digits, unit in pieces])
    head, tail = words.cut_tail(text)
    if head.endswith("°") and not _TRIGONOMETRIC.search(head):
        head, tail = head[:-1], tail | {"degree"}
    factor = 1
    for word in tail & set(words.MULTIPLIERS):
        factor, tail = factor * words.MULTIPLIERS[word], tail - {word}
    if tail or factor > 1 or head != text:
        value = _structure(head)
        return _with_tail(value, tail, factor)
    spoken = words.as_text(text)
    if spoken is not None and spoken.lower() in words.NUMBERS:
        return Number(Fraction(words.NUMBERS[spoken.lower()]))
    if spoken is not None and not (len(spoken) == 1 and not text.startswith("\\text")):
        letters = re.fullmatch(r"[A-Z](?:\s*,\s*[A-Z])+", spoken)
        return Sequence("", tuple(Text(letter) for letter in re.findall("[A-Z]", spoken))) if letters else Text(spoken)
    colons, signs = latex.split(text, {":"})
    if signs:
        parts = tuple(_structure(part) for part in colons)
        return None if None in parts else Clock(parts, text.replace(" ", ""))
    return number(text) or _formula(text)


def _with_tail(value: Any, tail: frozenset[str], factor: int) -> Any:
    if isinstance(value, Number):
        return Number(value.value * factor, value.places if factor == 1 else None, value.percent, value.tail | tail)
    if isinstance(value, Formula) and factor == 1:
        return Formula(value.expression, value.source, value.percent, value.tail | tail)
    if isinstance(value, Clock) and factor == 1:
        return Clock(value.parts, value.digits, value.tail | tail)
    return value if factor == 1 and isinstance(value, Sequence | Based) else None


def number(text: str) -> Number | None:
    """A number in digits: whole, decimal, a fraction, a mixed number, in powers of ten, in per cent."""
    text = text.strip()
    percent = text.endswith(r"\%")
    text = text.removesuffix(r"\%").strip().removesuffix("°").strip()
    if _INTEGER.fullmatch(text):
        return Number(Fraction(int(text)), None, percent)
    if (found := _DECIMAL.fullmatch(text)) and (found[2] or found[3]):
        value = Fraction(int(found[2] or "0")) + Fraction(int(found[3] or "0"), 10 ** len(found[3]))
        return Number(-value if found[1] == "-" else value, len(found[3]), percent)
    if found := _FRACTION.fullmatch(text):
        if int(found[4]) == 0 or (found[2] and int(found[3]) < 0):
            return None
        value = int(found[2] or "0") + Fraction(int(found[3]), int(found[4]))
        return Number(-value if found[1] == "-" else value, None, percent)
    if (found := _SLASH.fullmatch(text)) and int(found[2]):
        return Number(Fraction(int(found[1]), int(found[2])), None, percent)
    if found := _SCIENTIFIC.fullmatch(text):
        exponent = int(found[2].replace(" ", ""))
        places = len(found[1].partition(".")[2]) - exponent
        return (
            None
            if abs(exponent) > 400
            else Number(
                Fraction(found[1]) * Fraction(10) ** exponent,
                places if "." in found[1] or exponent < 0 else None,
                percent,
            )
        )
    if found := _REPEATING.fullmatch(text):
        shift = 10 ** len(found[3])
        value = Fraction(int((found[2] or "0") + found[3]), shift) + Fraction(
            int(found[4]), shift * (10 ** len(found[4]) - 1)
        )
        return Number(-value if found[1] == "-" else value, None, percent)
    return None


def _formula(text: str) -> Formula | None:
    """Any other expression, as latex2sympy reads it; None where it cannot, or where words are left in it."""
    percent = text.endswith(r"\%")
    source = text.removesuffix(r"\%").strip()
    if words.bare_words(re.sub(r"\\[a-zA-Z]+", " ", source)) or r"\text" in source or "%" in source:
        return None
    expression = parse(source)
    return None if expression is None else Formula(expression, source, percent)


def _unreserved(name: re.Match[str]) -> str:
    return rf"\theta_{{{name[1]}{name[2].strip('{}')}}}" if name[1] else name[0]


def parse(source: str) -> sympy.Expr | None:
    """An expression, unevaluated. latex2sympy raises bare exceptions at what it cannot read."""
    source = (
        _DEGREES.sub(r"(\1 \\cdot \\pi / 180)", source) if _TRIGONOMETRIC.search(source) else source.replace("°", "")
    )
    source = re.sub(r"\\(?:triangle|angle|overline|widehat)\s*\{?([A-Z]{1,4})\}?", r"\\theta_{\1}", source)
    source = _RESERVED.sub(_unreserved, source)
    source = _DIVISORS.sub(lambda name: rf"\theta_{{{name[1][0]}}}", source)
    source = re.sub(r"(?<![\^_\d.])(\d+(?:\.\d+)?)\s*\(", r"\1 \\cdot (", source)
    complex_number = bool(re.search(r"(?<![a-zA-Z\\])i(?![a-zA-Z])|\d+i", source))
    try:
        reader = _Reader(None, not complex_number or None, config=ConversionConfig(lowercase_symbols=False))
        expression = reader.parse(source)
    except (MemoryError, RecursionError):
        raise
    except Exception:
        return None
    return expression if isinstance(expression, sympy.Basic) else None
