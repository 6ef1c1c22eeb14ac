"""Cut thinking into passages: chunks at words of doubt, sentences, lines. Find cues of doubt in text."""

import functools
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase

from concise_rl.reading.trace import Span, _occurrences

SPLIT_WORDS = ("Wait", "But", "Alternatively", "Hmm", "Let", "Therefore")
"""A chunk of thinking begins before each of these, with a leading space and without."""
NEWLINES = ("\n", " \n", "\n\n", " \n\n", ".\n", ".\n\n")
"""What counts as a line break inside a chunk."""
CUES = ("wait", "but", "alternatively", "hmm", "however", "again", "check", "verify", "actually", "maybe")
"""Words of reflection: of those that DECS cuts at and NoWait (https://hf.co/papers/2506.08343) bans, the plain ones."""
_CUE = re.compile(rf"\b(?:{'|'.join(CUES)})\b", re.IGNORECASE)
_LINE_END = re.compile(r"\n\s*\Z")
_SENTENCE_END = re.compile(r"""(?:[.!?][.!?"'\u201d\u2019)\]}*$]*\s|\n)\s*\Z""")
_TAIL = 16
"""Characters of the text so far that are looked at for the end of a sentence."""


@dataclass(frozen=True)
class ChunkTokens:
    """The tokens at which thinking is cut into chunks (DECS, https://hf.co/papers/2509.25827, and its code).

    Attributes:
        words: first token of each of `SPLIT_WORDS`, with a leading space and without.
        newlines: tokens that make a chunk a chunk of several lines.
    """

    words: frozenset[int]
    newlines: frozenset[int]

    @classmethod
    def of(cls, tokenizer: PreTrainedTokenizerBase) -> "ChunkTokens":
        """As a tokenizer writes them. One that has no token for ` Wait` may write a space first: blank tokens are
        passed over, or a chunk would begin at every space. Of the newlines, tokens that hold none are passed over.

        Raises:
            ValueError: when it can write none of the words.
        """
        words = {_first_token(tokenizer, space + word, str.strip) for word in SPLIT_WORDS for space in ("", " ")}
        newlines = {_first_token(tokenizer, text, lambda piece: "\n" in piece) for text in NEWLINES}
        if words == {None}:
            raise ValueError(
                f"The tokenizer can write none of {', '.join(SPLIT_WORDS)}: its model's thinking has no chunks. Take "
                "sentences or lines."
            )
        return cls(frozenset(i for i in words if i is not None), frozenset(i for i in newlines if i is not None))


def _first_token(tokenizer: PreTrainedTokenizerBase, text: str, counts: Callable[[str], object]) -> int | None:
    """The first token of `text` whose own text counts; None when there is none, or the tokenizer does not know it."""
    ids = (i for i in tokenizer.encode(text, add_special_tokens=False) if counts(str(tokenizer.decode([i]))))
    first = next(ids, None)
    return None if first == tokenizer.unk_token_id else first


def chunk_spans(
    completion_ids: Sequence[int], tokens: ChunkTokens, think_end: tuple[int, ...], through_answer: bool = False
) -> list[Span]:
    """Cut thinking into chunks: before each split word, and what has no line break inside is glued to what follows.

    Args:
        completion_ids: a completion, or its thinking. A closing EOS would count as thinking where no delimiter comes.
        tokens: where to cut.
        think_end: the closing delimiter. What stands behind the first one is not looked at.
        through_answer: as the published code does it: cut on into the answer, and let the delimiter end the last chunk
            only. Then there is always a chunk, if an empty one.

    Returns:
        Spans without gaps from the first token on; none for no thinking.
    """
    ids = tuple(completion_ids)
    if not through_answer:
        ids = _before(ids, think_end)
    if not ids:
        return []
    starts = sorted({0, *(i for i, token in enumerate(ids) if token in tokens.words)})
    pieces = list(zip(starts, [*starts[1:], len(ids)], strict=True))
    last = starts[-1]
    pieces[-1] = (last, last + len(_before(ids[last:], think_end)))
    return _glued(pieces, [_has_lines(ids[start:end], tokens.newlines) for start, end in pieces])


def _before(ids: tuple[int, ...], needle: tuple[int, ...]) -> tuple[int, ...]:
    """What stands before the first place of `needle`, where that is given and found."""
    places = _occurrences(ids, needle) if needle else []
    return ids[: places[0]] if places else ids


def _has_lines(ids: Sequence[int], newlines: frozenset[int]) -> bool:
    """Whether a line break comes after the first word, and one before the last: the same one, inside, or one that
    trails and one that leads. The latter is how the published code happens to count."""
    words = [i for i, token in enumerate(ids) if token not in newlines]
    breaks = [i for i, token in enumerate(ids) if token in newlines]
    return bool(words and breaks) and breaks[-1] > words[0] and breaks[0] < words[-1]


def _glued(pieces: Sequence[Span], whole: Sequence[bool]) -> list[Span]:
    """Chunks: each ends with a piece that is whole by itself, or with the last one."""
    ends = [end for (_, end), is_whole in zip(pieces[:-1], whole, strict=False) if is_whole] + [pieces[-1][1]]
    return list(zip([0, *ends[:-1]], ends, strict=True))


def token_texts(tokenizer: PreTrainedTokenizerBase) -> Callable[[int], str]:
    """The text of a token as it stands inside a text. Some tokenizers drop the space before a token that comes first,
    so that each is decoded behind another."""
    anchor = tokenizer.encode("a", add_special_tokens=False)[-1:]

    def decode(ids: list[int]) -> str:
        return str(tokenizer.decode(ids, clean_up_tokenization_spaces=False))

    return functools.cache(lambda token: decode([*anchor, token])[len(decode(anchor)) :])


def sentence_spans(ids: Sequence[int], text_of: Callable[[int], str]) -> list[Span]:
    """Cut tokens where a sentence ends: after `.`, `!` or `?` with white space behind it, and after a line break. The
    white space belongs to the sentence before it, as far as it is in tokens of its own.

    Args:
        ids: of the thinking.
        text_of: see `token_texts`.
    """
    return _spans(ids, text_of, _SENTENCE_END)


def line_spans(ids: Sequence[int], text_of: Callable[[int], str]) -> list[Span]:
    """Cut tokens after each run of line breaks. Arguments as in `sentence_spans`."""
    return _spans(ids, text_of, _LINE_END)


def _spans(ids: Sequence[int], text_of: Callable[[int], str], end: re.Pattern[str]) -> list[Span]:
    """Spans that begin at tokens which are not blank and have the end of a passage before them."""
    starts, tail, begun = [0], "", False
    for i, text in enumerate(map(text_of, ids)):
        word = text.lstrip()
        tail += text[: len(text) - len(word)]
        if word and begun and end.search(tail):
            starts.append(i)
        tail, begun = (tail + word)[-_TAIL:], begun or bool(word)
    return list(zip(starts, [*starts[1:], len(ids)], strict=True)) if ids else []


def count_cues(text: str) -> Counter[str]:
    """How often each of `CUES` stands in a text, as a whole word in any case. `Wait, let me check again.` has three."""
    return Counter(match.lower() for match in _CUE.findall(text))
