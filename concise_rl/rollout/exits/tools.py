"""What an exit policy reads and writes with: a tokenizer, the delimiters, and texts that a model may not know."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

from transformers import PreTrainedTokenizerBase

from concise_rl.reading.passages import token_texts
from concise_rl.reading.trace import Delimiters, encode_words, read_trace
from concise_rl.verify.ballot import ballot

PUBLISHED = "\n**Final Answer**\n\\boxed{"
"""What the published probes are made of. The embedded reasoner has no tokens for it."""


@dataclass(frozen=True)
class ExitTools:
    """A model's words.

    Attributes:
        delimiters: of the model. Exits need one that closes the thinking.
        tokenizer: of the model.

    Raises:
        ValueError: for a model that does not think.
    """

    delimiters: Delimiters
    tokenizer: PreTrainedTokenizerBase

    def __post_init__(self) -> None:
        if not self.delimiters.think_end:
            raise ValueError("An exit stops thinking: it needs the delimiter that closes it (think_end).")

    @cached_property
    def text_of(self) -> Callable[[int], str]:
        """Return what tells a token's text; see `token_texts`."""
        return token_texts(self.tokenizer)

    @cached_property
    def think_end(self) -> str:
        """Return the text that closes the thinking; without a space that a tokenizer puts in front of every text."""
        return "".join(map(self.text_of, self.delimiters.think_end)).strip(" ")

    @cached_property
    def is_embedded(self) -> bool:
        """Say whether the model's few words are those of the embedded reasoner: published texts cannot be written."""
        unknown = self.tokenizer.unk_token_id
        return unknown is not None and unknown in self.tokenizer.encode(PUBLISHED, add_special_tokens=False)

    def text(self, ids: Sequence[int]) -> str:
        """Write tokens as text."""
        return "".join(map(self.text_of, ids))

    def answer(self, ids: Sequence[int], suffix: Sequence[int]) -> str:
        """Return the answer that a look decoded; empty where it was not finished, or closes the thinking again.

        Args:
            ids: what was decoded.
            suffix: what stood before. Where it opens a brace, the answer ends before the brace that closes it, as in
                Dynasor (`obtain_answer` in its cot.py). Else it ends with the text.
        """
        ended = bool(ids) and ids[-1] in self.delimiters.eos
        text, before = self.text(ids[: len(ids) - ended]), self.text(suffix)
        in_braces, whole = before.count("{") > before.count("}"), text if ended else ""
        found = _through_brace(text) if in_braces else whole
        return "" if self.think_end in found else found.strip()  # what closes the thinking again answers nothing

    def write(self, text: str) -> tuple[int, ...]:
        """Write a text as tokens.

        Raises:
            ValueError: for words that the tokenizer does not have.
        """
        return _written(self.tokenizer, text)

    def closing(self, text: str | None = None, at_line_end: bool = False) -> tuple[int, ...]:
        """Return the tokens that close the thinking.

        Args:
            text: holds the delimiter once. None: as models learn it. The delimiter stands on a line of its own, and an
                empty line follows. The embedded reasoner learnt it without the empty line.
            at_line_end: whether the thinking ends a line. Without `text`, no other line break is put there.

        Raises:
            ValueError: when nothing behind these tokens would be read as an answer.
        """
        before = "" if at_line_end or self.think_end.startswith("\n") else "\n"
        behind = "" if self.think_end.endswith("\n") else "\n" if self.is_embedded else "\n\n"
        ids = self.write(f"{before}{self.think_end}{behind}" if text is None else text)
        if read_trace(ids, self.delimiters).answer_ids is None:
            raise ValueError(
                f"The closing text must hold {self.think_end!r} once, as the same tokens: nothing behind it would be "
                f"an answer otherwise. It is {text!r}."
            )
        return ids

    def ends_line(self, thinking_ids: Sequence[int]) -> bool:
        """Say whether thinking ends with a line break."""
        return bool(thinking_ids) and self.text_of(thinking_ids[-1]).endswith("\n")

    def opening(self, prompt_ids: Sequence[int]) -> tuple[int, ...]:
        """Return the tokens that open the thinking where the model would have to write them itself; else none.

        Args:
            prompt_ids: a prompt. Many chat templates end with the opening tag.
        """
        tag = self.think_end.replace("</", "<", 1)
        ids = tuple(self.tokenizer.encode(tag, add_special_tokens=False))
        if tag == self.think_end or len(ids) != 1 or ids[0] == self.tokenizer.unk_token_id:
            return ()
        return () if ids[0] in prompt_ids[-4:] else self.write(f"{tag}\n")

    def tokens_with(self, *texts: str) -> tuple[int, ...]:
        """Return every token whose own text holds one of these."""
        return tuple(i for i, piece in enumerate(_pieces(self.tokenizer)) if any(text in piece for text in texts))

    def pauses(self, *events: str) -> tuple[int, ...]:
        """Return tokens after which an event is likely: those that hold one, and line breaks where one ends so."""
        return self.tokens_with(*events, *("\n" for event in events if event.endswith("\n")))

    def end(self) -> int:
        """Return the token that ends a completion."""
        own = self.tokenizer.eos_token_id
        return own if own in self.delimiters.eos else min(self.delimiters.eos)


def word_tokens(tools: ExitTools, words: Sequence[str]) -> tuple[int, ...]:
    """Return every token that is one of these words and nothing else, whatever its case and the space around it."""
    wanted = {word.lower() for word in words}
    return tuple(i for i in range(len(tools.tokenizer)) if tools.text_of(i).strip().lower() in wanted)


def _through_brace(text: str) -> str:
    """Return a text up to the brace that closes one opened before it; nothing where none does."""
    depth = 0
    for i, character in enumerate(text):
        depth += {"{": 1, "}": -1}.get(character, 0)
        if depth < 0:
            return text[:i]
    return ""


@functools.lru_cache(maxsize=65536)  # a replay asks again for every setting
def value_of(answer: str) -> str:
    """Return what two answers must share to be one answer; see `ballot`."""
    return ballot(f"\\boxed{{{answer}}}")


@functools.lru_cache
def _written(tokenizer: PreTrainedTokenizerBase, text: str) -> tuple[int, ...]:
    return encode_words(tokenizer, text)


@functools.lru_cache(maxsize=4)
def _pieces(tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """Return the text of each token."""
    return tokenizer.batch_decode([[i] for i in range(len(tokenizer))])
