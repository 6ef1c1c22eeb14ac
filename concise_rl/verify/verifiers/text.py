"""Verdicts on the text of an answer: exact match, multiple choice; and what stands in `\\boxed{...}`."""

import re
from collections.abc import Mapping
from typing import Any

_OPEN = re.compile(r"\\(?:boxed|fbox)\s*(?:\{|(?P<bare>[-+]?(?:\d|\\[a-zA-Z])[^\s$]*))")
_BRACE = re.compile(r"\\.|[{}]", re.DOTALL)

_ARTICLE = r"(?:[AI]\s+(?!(?:because|since|as|for|and|or|is|but|not|which|with|due|from|by)\b)[a-z])"
_LETTER = rf"(?:\(([A-Za-z])\)|\[([A-Za-z])\]|(?!{_ARTICLE})([A-Z])\b(?!'[a-z]))"
_JOINT = r"(?:[\"'`$\s]*(?:,|/|&|-|–|\bor\b|\band\b|\s(?=[(\[]))[\"'`$\s]*)"  # noqa: RUF001 -- a range
_LIST = rf"{_LETTER}(?:{_JOINT}+{_LETTER})*"
_WORD = r"(?i:\banswer\b(?:\s+(?:letter|choice|option))?)"
_LEADING = (
    r"[\"'`}>]*(?:\s+(?i:is|was|must\s+be|should\s+be|would\s+be)\b)?\s*[:=]*\s*"
    r"(?i:(?:clearly|therefore|thus|indeed|definitely)\s+)?(?i:(?:option|choice|letter)\s+)?[\"'`$\s{]*"
)
_ANSWER = re.compile(rf"{_WORD}(?P<link>{_LEADING})(?P<claim>{_LIST})")
_LINKED = re.compile(r"[\"'`}>:=${\n]|\b(?:is|was|be)\b", re.IGNORECASE)
_DENIED = re.compile(rf"{_WORD}\s+(?i:is\s+not|isn't|cannot\s+be)\b")
_ANSWER_LAST = re.compile(
    rf"({_LIST})[\"'`$\s]*\s(?i:is)\s+(?i:(?:the|my)\s+)?(?i:(?:correct|right|final|best)\s+)?(?i:answer|choice|option)\b"
)
_CLAIM = re.compile(rf"(?i:\b(?:choice|option)\b){_LEADING}({_LIST})")
_BOX = re.compile(
    r"(?:\\(?:text|textbf|mathrm|mathbf)\{)?\W*(?:(?i:option|choice|answer)\b\W*)?([A-Za-z])(?:\W*|[).:].*)", re.DOTALL
)
_LEAD = re.compile(r"^[\s$(\[]*([A-Za-z])(?:[\s$]*[).:\]]|[\s$]*$)", re.MULTILINE)
_FONT = re.compile(r"\\(?:text|textbf|mathrm|mathbf)\s*\{([^{}]*)\}")
_MARKS = re.compile(r"\*\*|__|(?<!\w)[*_](?=\S)|(?<=\S)[*_](?!\w)")


def boxed(text: str) -> list[str]:
    r"""The content of every outermost `\boxed{...}`, stripped, in order. One never closed gives an empty string.

    `\fbox{...}` is one, too, and so is `\boxed 73` without braces, up to the next blank.
    """
    contents, position = [], 0
    while start := _OPEN.search(text, position):
        if start["bare"]:
            contents.append(start["bare"].rstrip(".,;:!"))
            position = start.end()
            continue
        depth, position = 1, len(text)
        for brace in _BRACE.finditer(text, start.end()):
            depth += {"{": 1, "}": -1}.get(brace.group(), 0)
            if depth == 0:
                position = brace.end()
                break
        contents.append(text[start.end() : position - 1].strip() if depth == 0 else "")
    return contents


def exact(response: str, row: Mapping[str, Any]) -> bool:
    """The same text, any run of white space counting as one blank."""
    return response.split() == row["answer"].split()


def _letters(text: str) -> set[str]:
    """The choices that a text names, in capitals: in all its boxes; or where it says *answer* for the last time; or
    where it says *option*, or leading a line."""
    boxes = [box for box in boxed(text) if box] or boxed(text)
    if boxes:
        found = [_BOX.fullmatch(box) for box in boxes]
        return {match.group(1).upper() if match else "" for match in found}
    text = _FONT.sub(r"\1", _MARKS.sub("", text))
    claims = list(_ANSWER.finditer(text))
    linked = [claim for claim in claims if _LINKED.search(claim["link"])] or claims  # not `answer choice A is small`
    named = [claim["claim"] for claim in linked] or [claim for claim, *_ in _ANSWER_LAST.findall(text)]
    if named:
        return set(_singles(named[-1]))
    if _DENIED.search(text):
        return set()
    named = {letter for claim, *_ in _CLAIM.findall(text) for letter in _singles(claim)}
    return named or {letter.upper() for letter in _LEAD.findall(text)}


def _singles(claim: str) -> list[str]:
    return ["".join(found).upper() for found in re.findall(_LETTER, claim)]


def choice(response: str, row: Mapping[str, Any]) -> bool:
    """Multiple choice by letter: `B`, `(B)`, `B. Paris`, `\\boxed{B}`, `the answer is B`. The last claim
    counts; several letters in it are wrong.

    Raises:
        ValueError: when the row's answer is not one letter in one of these forms.
    """
    gold = _letters(row["answer"])
    if len(gold) != 1:
        raise ValueError(f"the answer {row['answer']!r} names no single choice; it must be a letter such as B")
    return _letters(response) == gold
