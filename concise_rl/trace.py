"""What a completion consists of: thinking, answer, and how it ended. Everything is read from token ids.

Decoded text is not enough: decoding may skip the think delimiters, and a length in characters is not what a rollout
costs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

from transformers import PreTrainedTokenizerBase


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


@dataclass(frozen=True)
class Delimiters:
    """The token sequences that bound thinking, and the tokens that end a completion.

    Attributes:
        think_end: ids of the closing delimiter; empty where the model does not think, so that all of it is answer.
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
            ValueError: when the tokenizer cannot write `think_end` (it encodes to nothing or to the unknown token).
        """
        ids = tuple(tokenizer.encode(think_end, add_special_tokens=False)) if think_end else ()
        if think_end and (not ids or tokenizer.unk_token_id in ids):
            raise ValueError(
                f"The tokenizer cannot encode the think delimiter {think_end!r}. Set `think_end` to the text that "
                "closes this model's thinking, or to null for a model that does not think."
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
    """Start of each place where `needle` stands in `ids`."""
    return [i for i in range(len(ids) - len(needle) + 1) if ids[i : i + len(needle)] == needle]


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
