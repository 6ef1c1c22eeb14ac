# ruff: noqa: RUF001 -- the signs that models write for LaTeX's
r"""LaTeX as models and data sets write answers, brought to one spelling; and cut at the top level of its brackets.

Text alone: nothing here computes. What a spelling is brought to, `concise_rl.verify.verifiers.values` reads.
"""

import re
from collections.abc import Iterator

_UNICODE = {
    "−": "-",
    "‐": "-",
    "–": "-",
    "×": r"\times ",
    "·": r"\cdot ",
    "⋅": r"\cdot ",
    "÷": "/",
    "°": r"^\circ ",
    "π": r"\pi ",
    "θ": r"\theta ",
    "∞": r"\infty ",
    "≤": r"\le ",
    "≥": r"\ge ",
    "≠": r"\ne ",
    "≈": r"\approx ",
    "∈": r"\in ",
    "∪": r"\cup ",
    "∩": r"\cap ",
    "±": r"\pm ",
    "√": r"\sqrt ",
    "∅": r"\emptyset ",
    "ℝ": r"\mathbb{R}",
    "½": r"\frac{1}{2}",
    "¼": r"\frac{1}{4}",
    "¾": r"\frac{3}{4}",
    "²": "^2",
    "³": "^3",
    "∛": r"\sqrt[3]",
    "％": "%",
    "，": ",",
    "（": "(",
    "）": ")",
    "：": ":",
    "。": ".",
    "’": "'",
    "″": "'",
    "\u00a0": " ",
    "\u2009": " ",
    "\u202f": " ",
    "\u200b": "",
}
_TRANSLATION = str.maketrans(_UNICODE)
_BLANK = r"(?:\\[,;: ]|\\(?:thinspace|quad|qquad|enspace|medspace|thickspace)(?![a-zA-Z])|~)"
_REWRITES = [
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"\\!|\\(?:displaystyle|textstyle|limits|nolimits|mathstrut|allowbreak|hfill)(?![a-zA-Z])", ""),
        (r"\\(?:h|v)?phantom\s*(?:\{[^{}]*\}|\S)", ""),
        (r"\\(?:left|right|[bB]igg?[lrm]?)(?![a-zA-Z])\s*\.?(?![\d])", ""),
        (r"\\[()]|\\\$|(?<!\\)\$", " "),
        (r"\\[\[\]]", " "),
        (r"\\[dtc]frac(?![a-zA-Z])", r"\\frac"),
        (r"\\(?:leqslant|leqq|leq)(?![a-zA-Z])|<=", r"\\le "),
        (r"\\(?:geqslant|geqq|geq)(?![a-zA-Z])|>=", r"\\ge "),
        (r"\\lt(?![a-zA-Z])", "<"),
        (r"\\gt(?![a-zA-Z])", ">"),
        (r"\\neq(?![a-zA-Z])|!=", r"\\ne "),
        (r"\\lbrace(?![a-zA-Z])", r"\\{"),
        (r"\\rbrace(?![a-zA-Z])", r"\\}"),
        (r"\\l(?:brack)(?![a-zA-Z])", "["),
        (r"\\r(?:brack)(?![a-zA-Z])", "]"),
        (r"\\(?:varnothing)(?![a-zA-Z])", r"\\emptyset"),
        (r"\\(?:mathbf|boldsymbol|bm|mathit|mathsf|mathcal|pmb)\s*\{([^{}]*)\}", r"\1"),
        (r"\\(?:mathrm|operatorname\*?|text)\s*\{\s*([ie])\s*\}", r"\1"),
        (
            r"\\(?:mathrm|operatorname\*?)\s*\{\s*(sin|cos|tan|cot|sec|csc|ln|log|exp|arcsin|arccos|arctan|gcd|lcm)\s*\}",
            r"\\\1 ",
        ),
        (
            r"\\(?:mathrm|operatorname\*?|mbox|hbox|textbf|textit|textrm|textnormal|textsf|texttt|emph|rm)\s*\{",
            r"\\text{",
        ),
        (r"\\text\s+\{", r"\\text{"),
        (r"\\text\{\s*([-\d.,/]+)\s*\}|\\text\{([0-9A-Z]+)\}(?=\s*[0-9A-Z]*\s*_)", r"\1\2"),
        (r"\\text\{\s*(-?\d[\d.,]*)\s+([a-z][a-z ]*)\}", r"\1\\text{\2}"),
        (r"(?<=\d)\.(?=/)", ""),
        (r"\\[dt]binom(?![a-zA-Z])", r"\\binom"),
        (r"\\?%|\\text\{\s*\\?%\s*\}|\\text\{\s*percent\s*\}|\bpercent\b", r"\\%"),
        (r"\^\s*(?:\\circ|\{\s*\\circ\s*\})|\\degree(?![a-zA-Z])", r"°"),
        (r"\\text\{[\s,;]*(?:and|or)[\s,;]*\}|(?<![\\a-zA-Z])(?:and|or)(?![a-zA-Z])", ","),
        (r"\\pmod\s*\{?\s*(\w+)\s*\}?|\(\s*\\?(?:b|\\text\{\s*)?mod\b\s*\}?\s*(\w+)\s*\)", r", \\text{mod \1\2}"),
        (r"\{\s*,\s*\}", ","),
        (r"\*\*", "^"),
        (r"(?<![\\a-zA-Z])(?:infinity|infty|inf)(?![a-zA-Z])", r"\\infty "),
        (r"\+\s*\\infty", r"\\infty"),
        (r"(?<![\w\\])(?:np|numpy|math)\.(?:log(?=\s*\()|(?=[a-z]))", lambda m: "ln" if "log" in m[0] else ""),
        (r"(?<![\\a-zA-Z])pi(?![a-zA-Z])", r"\\pi "),
        (r"(?<![\\a-zA-Z])a(?:rc)?(sin|cos|tan)(?=\s*[({\d\\])", r"\\arc\1 "),
        (r"(?<![\\a-zA-Z])(sqrt|sin|cos|tan|ln|log|exp)(?=\s*[({\d\\])", r"\\\1 "),
        (r"\\mathbb\s*\{?R\}?|\\R(?![a-zA-Z])|\\Re(?![a-zA-Z])", r"(-\\infty,\\infty)"),
    )
]
_SPACES = re.compile(rf"{_BLANK}|\s+")
_COMMA_GROUPS = re.compile(r"(?<![\d.,])(\d{1,3})((?:,\d{3})+)(?![\d,]*\d)")
_BLANK_GROUPS = re.compile(r"(?<![\d.,])(\d{1,3})((?: \d{3})+)(?![\d])")
_ENDS = " \t\r\n.,;:*_`"
_FONT = re.compile(r"\\(?:boxed|fbox|mbox|framebox)\s*\{")
_MACRO = re.compile(r"\\(frac|binom|sqrt)(?![a-zA-Z])\s*")
_TOKEN = re.compile(r"\\[a-zA-Z]+|\\.|.", re.DOTALL)
_OPENING = {"(", "[", "{", r"\{", r"\langle", r"\begin"}
_CLOSING = {")", "]", "}", r"\}", r"\rangle", r"\end"}

MAX_DEPTH = 10
"""Brackets nested deeper than this are not read: the time that latex2sympy takes doubles with each level."""


class TooDeepError(Exception):
    """Brackets are nested beyond `MAX_DEPTH`."""


def clean(text: str) -> str:
    """Bring an answer to one spelling: no delimiters, sizes, fonts and thin spaces; one name for each sign."""
    text = re.sub(_BLANK, " ", _rows(text.translate(_TRANSLATION)))
    text = unwrap(re.sub(r"\\+\s*$", "", text))
    text = text.replace("{,}", ",").replace(r"\!", "")
    for pattern, replacement in _REWRITES:
        text = pattern.sub(replacement, text)
    text = _SPACES.sub(" ", text)
    return unwrap(_arguments(_blank_thousands(text)))


def _rows(text: str) -> str:
    r"""The ends of rows as `\newline`; outside of tables, two backslashes are one that was escaped."""
    if r"\begin" in text:
        return re.sub(r"\\\\(?:\[[^\]]*\])?", lambda _: r"\newline ", text)
    return re.sub(r"\\\\(?=[a-zA-Z{}%$!,;:])", lambda _: "\\", text).replace("\\\\", " ")


def unwrap(text: str) -> str:
    """Without the punctuation around a text, and without braces or a box around all of it."""
    before = None
    while text != before:
        before = text
        text = text.strip(_ENDS) if not text.startswith(".") else text.rstrip(_ENDS)
        if re.match(r"[.,;:*_`\s]+(?!\d)", text):
            text = text.lstrip(_ENDS)
        font = _FONT.match(text)
        start = font.end() if font else 1 if text.startswith("{") else 0
        if start and closing(text, start - 1) == len(text) - 1:
            text = text[start:-1]
    return text


def _blank_thousands(text: str) -> str:
    return _BLANK_GROUPS.sub(lambda found: found[1] + found[2].replace(" ", ""), text)


def join_thousands(text: str) -> str:
    """`10,080` as one number. Commas behind an opening parenthesis separate: `(1,234)` is a pair."""
    if _COMMA_GROUPS.search(text) is None:
        return text
    parts: list[str] = []
    depth, start = 0, 0
    for position, token in tokens(text):
        if token in {"(", "[", r"\{", r"\langle"}:
            depth += 1
        elif token in {")", "]", r"\}", r"\rangle"}:
            depth -= 1
        else:
            continue
        piece = text[start:position]
        parts += [_joined(piece) if depth + (token in _CLOSING) - (token in _OPENING) <= 0 else piece, token]
        start = position + len(token)
    return "".join([*parts, _joined(text[start:])])


def _joined(text: str) -> str:
    return _COMMA_GROUPS.sub(lambda found: found[1] + found[2].replace(",", ""), text)


def tokens(text: str) -> Iterator[tuple[int, str]]:
    """Commands and single characters, with where they stand."""
    return ((found.start(), found.group()) for found in _TOKEN.finditer(text))


def closing(text: str, start: int) -> int:
    """Where the brace opened at `start` is closed; -1 where it is not."""
    depth = 0
    for position, token in tokens(text[start:]):
        depth += {"{": 1, "}": -1}.get(token, 0)
        if depth == 0:
            return start + position
    return -1


def argument(text: str, start: int) -> int:
    """The end of the macro argument at `start`: a group, a command, or one character. `√(2)` takes its parentheses."""
    if start >= len(text):
        return start
    if text[start] == "{":
        return (closing(text, start) + 1) or len(text)
    if text[start] == "(":
        depth = 0
        for position in range(start, len(text)):
            depth += {"(": 1, ")": -1}.get(text[position], 0)
            if depth == 0:
                return position + 1
        return len(text)
    found = _TOKEN.match(text, start)
    return found.end() if found else start


def _arguments(text: str) -> str:
    r"""Braces around each argument of a fraction or root: `\frac\pi 2`, `\frac12`, `\sqrt 3`."""
    result, position = [], 0
    while found := _MACRO.search(text, position):
        result += [text[position : found.start()], "\\" + found[1]]
        position = found.end()
        if text.startswith("[", position) and found[1] == "sqrt":
            end = text.find("]", position) + 1 or len(text)
            result.append(text[position:end])
            position = end
        for _ in range(1 if found[1] == "sqrt" else 2):
            position += len(text[position:]) - len(text[position:].lstrip())
            position, group = _group(text, position)
            result.append(group)
    return "".join([*result, text[position:]])


def _group(text: str, start: int) -> tuple[int, str]:
    r"""The end of a macro argument, and the argument in braces, its own arguments put in braces as well."""
    nested = _MACRO.match(text, start)
    if nested:  # \frac\sqrt2 3
        end = nested.end()
        for _ in range(1 if nested[1] == "sqrt" else 2):
            end = argument(text, end)
    elif (digits := re.match(r"\d+(?=\s*$|[^\d\s{])", text[start:])) and text[max(0, start - 5) : start] == "\\sqrt":
        end = start + digits.end()
    else:
        end = argument(text, start)
    inner = text[start:end]
    inner = inner[1:-1] if inner.startswith("{") and inner.endswith("}") else inner
    return end, "{" + (_arguments(inner) if "\\" in inner else inner) + "}"


def split(text: str, separators: set[str]) -> tuple[list[str], list[str]]:
    """Cut a text at separators that stand in no bracket.

    Returns:
        The parts, stripped, and the separators between them.

    Raises:
        TooDeepError: for brackets nested too deep.
    """
    parts, found, depth, start = [], [], 0, 0
    for position, token in tokens(text):
        if token in _OPENING:
            depth += 1
        elif token in _CLOSING:
            depth -= 1
        elif depth <= 0 and token in separators:
            parts.append(text[start:position].strip())
            found.append(token)
            start = position + len(token)
        if depth > MAX_DEPTH:
            raise TooDeepError
    return [*parts, text[start:].strip()], found


def bracketed(text: str) -> tuple[str, str, str] | None:
    """The opening bracket, the content and the closing bracket, where one pair goes around all of a text."""
    found = list(tokens(text))
    if not found or found[0][1] not in _OPENING or found[-1][1] not in _CLOSING:
        return None
    depth = 0
    for position, token in found:
        depth += (token in _OPENING) - (token in _CLOSING)
        if depth == 0:
            end = position
            break
    if depth != 0 or end != found[-1][0]:
        return None
    opening, close = found[0][1], found[-1][1]
    return opening, text[len(opening) : end], close
