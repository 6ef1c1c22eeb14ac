"""Where thinking is looked at: behind or before what its tokens say, found as soon as they say it.

Every function here is stable: what it finds in the first n tokens is the beginning of what it finds in all.
"""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Sequence

SENTENCE_END = re.compile(r"""[.!?]["')\]]*(?=[^\S\n])|[^\n]\n""")
"""Of a sentence within a line, whose space may be the next token's; or of a line."""
_KEPT = 64
"""Characters that are kept between tokens: an event is not longer."""


def every(length: int, step: int) -> list[int]:
    """Return the places after each `step` tokens of so many."""
    return list(range(step, length + 1, step))


def literal(words: Sequence[str]) -> re.Pattern[str]:
    """Return what finds any of these words, wherever they stand: in longer ones too, as a stop string does."""
    return re.compile("|".join(map(re.escape, words)))


def places_of(texts: Sequence[str], event: re.Pattern[str], before: bool = False) -> list[int]:
    """Find an event in a text as it grows token by token.

    Args:
        texts: of the tokens, in order.
        event: what is looked for. It counts once its last character is there.
        before: whether a place lies before the token in which the event begins. Else it lies behind the token in which
            it ends.

    Returns:
        Tokens before each place, ascending; no place lies before the first token.
    """
    places: list[int] = []
    ends: list[int] = []
    tail, passed = "", 0
    for text in texts:
        tail += text
        ends.append((ends[-1] if ends else 0) + len(text))
        while found := event.search(tail):
            assert found.group(), "an event has a character"
            start, end = passed + found.start(), passed + found.end()
            places.append(bisect_right(ends, start) if before else bisect_left(ends, end) + 1)
            tail, passed = tail[found.end() :], end
        tail, passed = tail[-_KEPT:], passed + max(0, len(tail) - _KEPT)
    return [place for place in dict.fromkeys(places) if place]
