"""Pack what the sample browser of a page shows: facts of many samples in columns, and their texts, packed."""

import base64
import gzip
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from concise_rl.output.pages.parts import Part, shorten

Tone = Literal["good", "bad"]
VERDICTS: Mapping[float | None, str] = {1: "right", 0: "wrong", None: "ungraded"}
"""What pages call the verifier's verdicts."""
VERDICT_MARKS = {"right": "✓", "wrong": "✗", "ungraded": "?", "given up": "…"}
VERDICT_TONES: Mapping[str, Tone] = {"right": "good", "wrong": "bad"}
BUDGET = 20_000_000
"""Characters that the packed texts of a page may take."""
_CHUNK = 200_000
"""Characters of text that are packed, and unpacked, together."""
_PROBES = 200
"""Texts that are packed to find out how well they pack."""


@dataclass(frozen=True)
class Category:
    """A fact that has one of few values, and by which samples are filtered.

    Attributes:
        key: its name in the page's address.
        title: its name on the page.
        values: one for each sample; None where it does not apply.
        marks: a sign for a value, `{"right": "✓"}` say, so that no colour is needed.
        tones: `good` or `bad` for a value, its colour.
        listed: shown in the list, and not with the sample alone.
        wide: left out of the list on a phone.
        filter: offered as a filter.
    """

    key: str
    title: str
    values: Sequence[str | None]
    marks: Mapping[str, str] = field(default_factory=dict)
    tones: Mapping[str, Tone] = field(default_factory=dict)
    listed: bool = True
    wide: bool = False
    filter: bool = True


@dataclass(frozen=True)
class Number:
    """A fact that is a number, and by which samples are sorted.

    Attributes:
        key, title, values, listed, wide: as in `Category`.
        digits: behind the point.
        sort: offered as an order, largest and smallest first.
    """

    key: str
    title: str
    values: Sequence[float | None]
    digits: int = 0
    listed: bool = True
    wide: bool = False
    sort: bool = True


@dataclass(frozen=True)
class Text:
    """Hold what is read of one sample.

    Attributes:
        prompt: the problem.
        gold: its answer, where it is known.
        parts: of the completion, see `concise_rl.output.pages.parts.cut_text`.
    """

    prompt: str
    gold: str | None
    parts: Sequence[Part]


def browser_data(
    facts: Sequence[Category | Number],
    texts: Sequence[Text],
    group: Sequence[int],
    beside: Sequence[int | None] | None = None,
    budget: int = BUDGET,
) -> dict[str, Any]:
    """Pack samples for the macro `browser`. The same samples give the same bytes.

    Args:
        facts: columns, each with a value for every sample, in the order in which they are shown.
        texts: of each sample.
        group: samples of one number belong together, as those of one problem do. The page links them.
        beside: for each sample the index of one that is shown beside it, the baseline's say; None for none.
        budget: characters that the packed texts may take. Where they would take more, long texts lose what is neither
            their head nor their tail nor near the place where the answer is first stated; the page says so.
    """
    assert all(len(fact.values) == len(texts) for fact in facts) and len(group) == len(texts)
    prompts = list(dict.fromkeys((text.prompt, text.gold) for text in texts))
    place = {prompt: i for i, prompt in enumerate(prompts)}
    chunks, shortened = _fit([text.parts for text in texts], budget)
    return {
        "count": len(texts),
        "facts": [_column(fact) for fact in facts],
        "prompts": _pack(prompts),
        "prompt": [place[text.prompt, text.gold] for text in texts],
        "group": list(group),
        "beside": None if beside is None else list(beside),
        "chunks": chunks,
        "shortened": shortened,
    }


def _column(fact: Category | Number) -> dict[str, Any]:
    shared = {"key": fact.key, "title": fact.title, "listed": fact.listed, "wide": fact.wide}
    if isinstance(fact, Number):
        values = [None if value is None else round(value, fact.digits) for value in fact.values]
        return {**shared, "kind": "number", "digits": fact.digits, "sort": fact.sort, "data": values}
    names = list(dict.fromkeys(value for value in fact.values if value is not None))
    return {
        **shared,
        "kind": "category",
        "names": names,
        "marks": dict(fact.marks),
        "tones": dict(fact.tones),
        "filter": fact.filter,
        "data": [None if value is None else names.index(value) for value in fact.values],
    }


def _fit(texts: Sequence[Sequence[Part]], budget: int) -> tuple[list[tuple[int, str]], int]:
    """Pack texts into at most `budget` characters: chunks, and how many texts were shortened."""
    lengths = [sum(len(part.text) for part in parts) for parts in texts]
    limit = _limit(lengths, budget / _ratio(texts, lengths))
    while True:
        chunks = _chunks([shorten(parts, limit) for parts in texts])
        if sum(len(chunk) for _, chunk in chunks) <= budget or limit == 0:
            return chunks, sum(length > limit for length in lengths)
        limit = limit * 4 // 5


def _ratio(texts: Sequence[Sequence[Part]], lengths: Sequence[int]) -> float:
    """Return the packed characters for each character, by some of the texts."""
    some = range(0, len(texts), max(1, len(texts) // _PROBES))
    packed = sum(len(chunk) for _, chunk in _chunks([texts[i] for i in some]))
    return packed / max(1, sum(lengths[i] for i in some)) if texts else 1.0


def _limit(lengths: Sequence[int], room: float) -> int:
    """Return the length to which long texts are cut so that all take `room` characters."""
    left, remaining = room, len(lengths)
    for length in sorted(lengths):
        if length * remaining > left:
            return int(left / remaining)
        left, remaining = left - length, remaining - 1
    return max(lengths, default=0)


def _chunks(texts: Sequence[Sequence[Part]]) -> list[tuple[int, str]]:
    """Pack texts: (index of the first text, packed texts) of each chunk."""
    chunks: list[tuple[int, str]] = []
    first, size = 0, 0
    for i, parts in enumerate(texts):
        size += sum(len(part.text) for part in parts)
        if size >= _CHUNK or i + 1 == len(texts):
            written = [[(part.kind, part.text) for part in of_one] for of_one in texts[first : i + 1]]
            chunks.append((first, _pack(written)))
            first, size = i + 1, 0
    return chunks


def _pack(data: Any) -> str:
    """Pack data as JSON, compressed, in base64. Without a time in it: the same data gives the same text."""
    written = json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "backslashreplace")
    return base64.b64encode(gzip.compress(written, mtime=0)).decode("ascii")
