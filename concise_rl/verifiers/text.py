"""Verdicts on the text of an answer: exact match, multiple choice; and what stands in `\\boxed{...}`."""

import re
from collections.abc import Mapping
from typing import Any

_OPEN = re.compile(r"\\boxed\s*\{")
_BRACE = re.compile(r"\\.|[{}]", re.DOTALL)

_LETTER = r"(?:\(([A-Za-z])\)|\*{0,2}([A-Z])\b(?!'))"
_LIST = rf"{_LETTER}(?:(?:\s*(?:,|/|&|\bor\b|\band\b)\s*)+{_LETTER})*"
_CLAIM = re.compile(rf"(?i:\b(?:answer|choice|option)\b(?:\s+is)?)\s*:?\s*[*$\s]*({_LIST})")
_BOX = re.compile(r"(?:\\(?:text|textbf|mathrm|mathbf)\{)?\W*([A-Za-z])(?:\W*|[).:].*)", re.DOTALL)
_LEAD = re.compile(r"^[\s*$(]*([A-Za-z])(?:[\s*$]*[).:]|[\s*$]*$)", re.MULTILINE)


def boxed(text: str) -> list[str]:
    """The content of every outermost `\\boxed{...}`, stripped, in order. One never closed gives an empty string."""
    contents, position = [], 0
    while start := _OPEN.search(text, position):
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
    """The choices that a text names, in capitals: in its boxes, or where it says `answer is B`, or alone or leading."""
    boxes = boxed(text)
    if boxes:
        found = [_BOX.fullmatch(box) for box in boxes]
        return {match.group(1).upper() if match else "" for match in found}
    claims = [claim for claim, *_ in _CLAIM.findall(text)]
    letters = [a or b for claim in claims for a, b in re.findall(_LETTER, claim)] or _LEAD.findall(text)
    return {letter.upper() for letter in letters}


def choice(response: str, row: Mapping[str, Any]) -> bool:
    """Multiple choice by letter: `B`, `(B)`, `B. Paris`, `\\boxed{B}`, `the answer is B`. Several letters are wrong.

    Raises:
        ValueError: when the row's answer is not one letter in one of these forms.
    """
    gold = _letters(row["answer"])
    if len(gold) != 1:
        raise ValueError(f"the answer {row['answer']!r} names no single choice; it must be a letter such as B")
    return _letters(response) == gold
