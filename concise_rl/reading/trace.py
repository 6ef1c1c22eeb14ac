"""What a completion consists of: thinking, answer, and how it ended. Everything is read from token ids.

Decoded text is not enough: decoding may skip the think delimiters, and a length in characters is not what a rollout
costs.
"""

import hashlib
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Literal

import numpy as np
from transformers import PreTrainedTokenizerBase

Span = tuple[int, int]
"""Start and end (exclusive) of tokens, as indices of a completion."""


PartName = Literal["thinking", "redundant", "delimiter", "answer", "end"]
TokenPart = tuple[PartName, int, int]
"""Name of a part of a completion, its first token and the one after its last. `end` is the EOS."""


class StopReason(IntEnum):
    """Why a rollout ended."""

    EOS = 0
    """The model ended it, by any of its generation config's EOS tokens."""
    LENGTH = 1
    """The cap on completion tokens."""
    THINK_BUDGET = 2
    """The cap on thinking tokens."""
    FORCED_EXIT = 3
    """An exit was forced at a given thinking token."""
    ABORTED = 4
    """The engine gave it up: it could earn no credit any more."""
    ERROR = 5
    """The engine failed on it."""
    STOP_TOKEN = 6
    """A stop token that the rollout plan asked for; the plan goes on from there."""

    @property
    def label(self) -> str:
        """The name in metrics and files."""
        return self.name.lower()


def hash_prompt(prompt_ids: Sequence[int]) -> str:
    """Hash a prompt's token ids (sha256): samples of two models are compared where these agree."""
    return hashlib.sha256(",".join(map(str, prompt_ids)).encode()).hexdigest()


def encode_words(tokenizer: PreTrainedTokenizerBase, text: str) -> tuple[int, ...]:
    """Text as the tokens that a plan forces.

    Raises:
        ValueError: for words that the tokenizer does not have.
    """
    ids = tuple(tokenizer.encode(text, add_special_tokens=False))
    if tokenizer.unk_token_id in ids:
        raise ValueError(f"The tokenizer cannot write {text!r}: choose a text in its vocabulary.")
    return ids


@dataclass(frozen=True)
class Delimiters:
    """The token sequences that bound thinking, and the tokens that end a completion.

    Attributes:
        think_end: ids of the closing delimiter; empty where the model does not think, so that all of it is answer. One
            of several tokens is found only where it is written in these: its ends may merge with what is around it, and
            the rollout then counts as never closed. A delimiter that is one token has no such cases.
        eos: every id that ends a completion.
    """

    think_end: tuple[int, ...]
    eos: frozenset[int]

    @classmethod
    def of(
        cls, tokenizer: PreTrainedTokenizerBase, eos_token_ids: Sequence[int], think_end: str | None
    ) -> "Delimiters":
        """Encode the recipe's closing delimiter.

        Raises:
            ValueError: when the tokenizer cannot write `think_end` (it encodes to nothing or to the unknown token), or
                writes it otherwise in front of a line break, so that it would not be found again.
        """

        def encode(text: str) -> tuple[int, ...]:
            return tuple(tokenizer.encode(text, add_special_tokens=False))

        ids = encode(think_end) if think_end else ()
        if think_end and (not ids or tokenizer.unk_token_id in ids):
            raise ValueError(
                f"The tokenizer cannot encode the think delimiter {think_end!r}. Set think_end to the text that "
                "closes this model's thinking. For a model that does not think: --think-end '', or null in a recipe."
            )
        for behind in ("\n", "\n\n"):
            if think_end and not think_end[-1].isspace() and not _occurrences(encode(think_end + behind), ids):
                raise ValueError(
                    f"The tokenizer merges the end of the think delimiter {think_end!r} with a line break behind it, "
                    "so that completions would be read as never closed. Add it to the tokenizer as a token, or set "
                    "`think_end` to a delimiter that is one."
                )
        return cls(ids, frozenset(eos_token_ids))


@dataclass(frozen=True)
class Trace:
    """One completion, read.

    Attributes:
        length: tokens of the completion, EOS included.
        think_length: tokens before the closing delimiter; all but the EOS where it never comes.
        answer_ids: tokens after the delimiter without the EOS. None without exactly one delimiter: then there is no
            answer part, and the rollout is wrong.
        finished: ended by an EOS.
    """

    length: int
    think_length: int
    answer_ids: tuple[int, ...] | None
    finished: bool


def _occurrences(ids: tuple[int, ...], needle: tuple[int, ...]) -> list[int]:
    """Start of each place where `needle`, which is not empty, stands in `ids`."""
    return [i for i, token in enumerate(ids) if token == needle[0] and ids[i : i + len(needle)] == needle]


def read_trace(completion_ids: Sequence[int], delimiters: Delimiters) -> Trace:
    """Split a completion at its closing think delimiter. An empty completion is unfinished and has no answer."""
    ids = tuple(completion_ids)
    finished = bool(ids) and ids[-1] in delimiters.eos
    body = ids[:-1] if finished else ids
    if not delimiters.think_end:
        return Trace(len(ids), 0, body or None, finished)
    ends = _occurrences(body, delimiters.think_end)
    answer = body[ends[0] + len(delimiters.think_end) :] if len(ends) == 1 else None
    return Trace(len(ids), ends[0] if ends else len(body), answer, finished)


def cut_parts(trace: Trace, delimiters: Delimiters, redundant_at: int | None = None) -> list[TokenPart]:
    """Cut a completion into thinking, its redundant end, delimiter, answer and end. Empty parts are left out.

    Args:
        trace: how the completion reads.
        delimiters: by which it was read.
        redundant_at: token at which the redundant part of the thinking begins; None where there is none.
    """
    think, body = trace.think_length, trace.length - trace.finished
    ends: dict[PartName, int] = {
        "thinking": think if redundant_at is None else min(redundant_at, think),
        "redundant": think,
        "delimiter": min(think + len(delimiters.think_end), body),
        "answer": body,
        "end": trace.length,
    }
    places = zip(ends, (0, *ends.values()), ends.values(), strict=False)
    return [(name, start, end) for name, start, end in places if start < end]


def decode_parts(ids: Sequence[int], parts: Sequence[TokenPart], tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """The text of each part. They join to the text of all: a part that is decoded alone may lose a space.

    Args:
        ids: tokens of the completion.
        parts: neighbours, in order. What stands before the first, or behind the last, is not read.
        tokenizer: writes them.
    """
    if not parts:
        return []
    first, own = parts[0][1], ids[parts[0][1] : parts[-1][2]]
    text = decoded(tokenizer, own)
    edges = [0, *(character_at(tokenizer, own, end - first, text) for _, _, end in parts)]
    return [text[start:end] for start, end in itertools.pairwise(edges)]


def decoded(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int], skip_special_tokens: bool = False) -> str:
    """Decode tokens. As an array, since transformers looks at every number of a list, which takes most of the time."""
    return str(tokenizer.decode(np.array(ids, dtype=np.int64), skip_special_tokens=skip_special_tokens))


def character_at(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int], token: int, text: str) -> int:
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
    before = decoded(tokenizer, ids[:token])
    if text.startswith(before):
        return len(before)
    same = (one == other for one, other in zip(before, text, strict=False))
    return next((i for i, agrees in enumerate(same) if not agrees), min(len(before), len(text)))
