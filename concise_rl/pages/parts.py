"""A completion cut into what it consists of: thinking, its redundant part, the delimiter, the answer, forced tokens."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:  # pages are also made where nothing needs transformers, which is slow to import
    from transformers import PreTrainedTokenizerBase

Kind = Literal["prompt", "thinking", "redundant", "delimiter", "answer", "forced", "omitted"]
Span = tuple[int, int]


@dataclass(frozen=True)
class Part:
    """A piece of a completion's text, and what it is."""

    kind: Kind
    text: str


def cut_text(
    text: str, think_end: str | None, redundant_at: int | None = None, forced: Sequence[Span] = ()
) -> list[Part]:
    """Cut a completion's text into parts. The texts of the parts, joined, are the text.

    Args:
        text: of the completion, with the delimiters in it.
        think_end: what closes the thinking; None for a model that does not think, whose text is all answer.
        redundant_at: character at which the redundant part of the thinking begins; None where none is known.
        forced: characters that were forced, as (start, end), ascending. They are forced wherever they stand.

    Returns:
        The parts that are not empty, in order. Thinking that is never closed has no delimiter and no answer.
    """
    if think_end is None:
        return _cut(text, [(0, "answer")], forced)
    starts: list[tuple[int, Kind]] = [(0, "thinking")]
    close = text.find(think_end) if think_end in text else len(text)
    if redundant_at is not None and redundant_at < close:
        starts.append((redundant_at, "redundant"))
    if close < len(text):
        starts += [(close, "delimiter"), (close + len(think_end), "answer")]
    return _cut(text, starts, forced)


def _cut(text: str, starts: Sequence[tuple[int, Kind]], forced: Sequence[Span]) -> list[Part]:
    """Cut at the start of each kind, and around what was forced."""
    edges = sorted({0, len(text), *(start for start, _ in starts), *(edge for span in forced for edge in span)})
    parts: list[Part] = []
    for start, end in pairwise(edges):
        is_forced = any(low <= start < high for low, high in forced)
        kind: Kind = "forced" if is_forced else [kind for first, kind in starts if first <= start][-1]
        parts.append(Part(kind, text[start:end]))
    return _merged(parts)


def character_at(tokenizer: "PreTrainedTokenizerBase", ids: Sequence[int], token: int, text: str) -> int:
    """Find the character of a decoded text at which a token begins.

    Args:
        tokenizer: what decoded the text.
        ids: tokens of the text.
        token: index into `ids`.
        text: `ids`, decoded.

    Returns:
        How many characters the tokens before it have. Where a character's bytes are split between two tokens, it
        belongs to the later one.
    """
    before = str(tokenizer.decode(list(ids[:token])))
    same = (one == other for one, other in zip(before, text, strict=False))
    return next((i for i, agrees in enumerate(same) if not agrees), min(len(before), len(text)))


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
    """Neighbours of one kind as one part."""
    return [Part(kind, "".join(part.text for part in same)) for kind, same in groupby(parts, lambda part: part.kind)]
