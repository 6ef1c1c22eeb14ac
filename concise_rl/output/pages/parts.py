"""A completion cut into what it consists of: thinking, its redundant part, the delimiter, the answer."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import Literal

Kind = Literal["thinking", "redundant", "delimiter", "answer", "omitted"]
Span = tuple[int, int]


@dataclass(frozen=True)
class Part:
    """A piece of a completion's text, and what it is."""

    kind: Kind
    text: str


def cut_text(text: str, think_end: str | None, redundant_at: int | None = None) -> list[Part]:
    """Cut a completion's text into parts. The texts of the parts, joined, are the text.

    Args:
        text: of the completion, with the delimiters in it.
        think_end: what closes the thinking; None for a model that does not think, whose text is all answer.
        redundant_at: character at which the redundant part of the thinking begins; None where none is known.

    Returns:
        The parts that are not empty, in order. Thinking that is never closed has no delimiter and no answer.
    """
    if think_end is None:
        return [Part("answer", text)] if text else []
    before, delimiter, answer = text.partition(think_end)
    cut = len(before) if redundant_at is None else redundant_at
    parts: list[Part] = [
        Part("thinking", before[:cut]),
        Part("redundant", before[cut:]),
        Part("delimiter", delimiter),
        Part("answer", answer),
    ]
    return [part for part in parts if part.text]


def shorten(parts: Sequence[Part], limit: int) -> list[Part]:
    """Keep at most about `limit` characters of a long completion, and say how many are left out.

    Kept are its head, its tail, and the place where the thinking first states the answer, if that is known.
    """
    length = sum(len(part.text) for part in parts)
    if length <= limit:
        return list(parts)
    before, kept = 0, [(0, 2 * limit // 5), (length - 3 * limit // 10, length)]
    for part in parts:
        if part.kind == "redundant":  # what stands before it states the answer
            kept.append((before - limit // 5, before + limit // 10))
        before += len(part.text)
    return _keep(parts, sorted((max(0, low), high) for low, high in kept))


def _keep(parts: Sequence[Part], kept: Sequence[Span]) -> list[Part]:
    """Cut out what no span keeps; one remark for each gap."""
    found: list[Part] = []
    begin, omitted = 0, 0
    for part in parts:
        end = begin + len(part.text)
        edges = sorted({begin, end, *(edge for span in kept for edge in span if begin < edge < end)})
        for low, high in pairwise(edges):
            if any(first <= low < last for first, last in kept):
                found += [*_remark(omitted), Part(part.kind, part.text[low - begin : high - begin])]
                omitted = 0
            else:
                omitted += high - low
        begin = end
    return _merged([*found, *_remark(omitted)])


def _remark(omitted: int) -> list[Part]:
    return [Part("omitted", f"{omitted:,} characters are left out of this page")] if omitted else []


def _merged(parts: Sequence[Part]) -> list[Part]:
    """Merge neighbours of one kind into one part."""
    return [Part(kind, "".join(part.text for part in same)) for kind, same in groupby(parts, lambda part: part.kind)]
