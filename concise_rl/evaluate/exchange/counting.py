"""Read the completions of a log: where their thinking ends, how many tokens they have, how they ended."""

from collections.abc import Sequence
from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase

from concise_rl.evaluate.exchange.log import Log, Logged
from concise_rl.models.eos import load_tokenizer
from concise_rl.models.resolve import resolve_model
from concise_rl.reading.trace import Delimiters, StopReason, read_trace
from concise_rl.verify.grade import answer_text

COUNT = "--tokenizer MODEL counts the tokens of the logged texts"


@dataclass(frozen=True)
class Read:
    """A completion, read.

    Attributes:
        ids: its tokens; None where the log has none.
        text: all of it, without the EOS that ended it.
        thinking: the text before the closing delimiter; all of it where that never comes, None where the log keeps
            the thinking to itself.
        answer: the text behind the delimiter; None without exactly one.
        length, think_length: tokens; the latter None where nobody counted them.
        stop: why it ended.
    """

    ids: tuple[int, ...] | None
    text: str
    thinking: str | None
    answer: str | None
    length: int
    think_length: int | None
    stop: StopReason


class Reader:
    """Reads the completions of one log.

    Attributes:
        guessed: how many completions ended in a way that the log does not say, and that was told from their length or
            their last token.
    """

    def __init__(self, log: Log, think_end: str | None, tokenizer: str | None) -> None:
        """Load the tokenizer, if one is given.

        Raises:
            ValueError: when it cannot write `think_end`, or did not write the log's texts.
        """
        self.log, self.think_end, self.guessed = log, think_end, 0
        self.tokenizer: PreTrainedTokenizerBase | None = None
        if tokenizer is not None:
            self.tokenizer, ends = load_tokenizer(resolve_model(tokenizer))
            self.delimiters = Delimiters.of(self.tokenizer, ends, think_end)
            self._check_writes(tokenizer)

    def _check_writes(self, name: str) -> None:
        """Make sure that the tokenizer is that of the log's token ids."""
        with_ids = [one for one in self.log.logged if one.ids]
        if with_ids and not any(self._writes(one) for one in with_ids[:64]):
            raise ValueError(
                f"{self.log.name}: the tokenizer of {name} writes other texts for the logged token ids than those "
                "beside them. Give the model that was run."
            )

    def _writes(self, one: Logged) -> bool:
        assert self.tokenizer is not None and one.ids is not None
        written = [str(self.tokenizer.decode(list(one.ids), skip_special_tokens=skip)) for skip in (True, False)]
        return one.text.strip() in [text.strip() for text in written] or written[1].startswith(one.text)

    def read(self, one: Logged) -> Read:
        """Read a completion.

        Raises:
            ValueError: when nobody has counted its tokens, or the counts do not agree.
        """
        if one.ids and self.tokenizer is not None:
            return self._from_ids(one.ids, self.tokenizer)
        thinking, answer = self._cut(one)
        if one.tokens is not None and one.tokens < 1:
            raise ValueError(f"{self.log.name}: {one.place} has {one.tokens} tokens by the log's count.")
        text = one.text if one.thinking is None else f"{one.thinking}{self.think_end or ''}{one.text}"
        shown = one.tokens or self._count(text, one)
        stop = self._stop(one, shown)
        length = one.tokens or max(1, shown + (stop is StopReason.EOS))  # no text shows the EOS
        think_length = self._think_length(one, thinking, length, stop)
        return Read(None, text, thinking, answer, length, think_length, stop)

    def _from_ids(self, ids: tuple[int, ...], tokenizer: PreTrainedTokenizerBase) -> Read:
        trace = read_trace(ids, self.delimiters)
        answer = None if trace.answer_ids is None else answer_text(trace.answer_ids, tokenizer)
        stop = StopReason.EOS if trace.finished else StopReason.LENGTH
        text, thinking = (
            str(tokenizer.decode(list(ids[:end]))) for end in (trace.length - trace.finished, trace.think_length)
        )
        return Read(ids, text, thinking, answer, trace.length, trace.think_length, stop)

    def _cut(self, one: Logged) -> tuple[str | None, str | None]:
        """Part the thinking from the answer. Thinking that was counted, and is not in the text, is not known."""
        if one.thinking is not None:
            return one.thinking, one.text or None
        if self.think_end is None or self.think_end not in one.text:
            if one.think_tokens and one.tokens and one.think_tokens < one.tokens - 1:
                return None, one.text
            if self.think_end is None:
                return "", one.text
        before, *behind = one.text.split(self.think_end)
        return before, behind[0] if len(behind) == 1 else None

    def _count(self, text: str, one: Logged) -> int:
        """Count the tokens of a text."""
        if self.tokenizer is None:
            raise ValueError(f"{self.log.name}: the log has no token count for {one.place}. {COUNT}.")
        return len(self.tokenizer.encode(text, add_special_tokens=False))

    def _stop(self, one: Logged, length: int) -> StopReason:
        """Tell how a completion ended, by its length where the log does not say."""
        if one.stop is not None:
            return one.stop
        self.guessed += 1
        cap = self.log.max_tokens
        return StopReason.LENGTH if cap is not None and length >= cap else StopReason.EOS

    def _think_length(self, one: Logged, thinking: str | None, length: int, stop: StopReason) -> int | None:
        """Return the tokens of the thinking: the log's count, or the tokenizer's. A count of 0 beside thinking that is
        there means that the server did not count."""
        if one.think_tokens is not None and (one.think_tokens or not thinking):
            if one.think_tokens > length:
                raise ValueError(
                    f"{self.log.name}: {one.place} has {one.think_tokens} tokens of thinking, but {length} in all. "
                    "Whatever counted them did not count thinking as output, so that these numbers compare with none."
                )
            return one.think_tokens
        if not thinking:
            return None if thinking is None else 0
        if self.tokenizer is None:
            return None
        if one.thinking is None and self.think_end is not None and self.think_end not in one.text:
            return length - (stop is StopReason.EOS)
        return min(length, len(self.tokenizer.encode(thinking, add_special_tokens=False)))


def find_think_end(logs: Sequence[Log], wanted: str | None, told: bool) -> str | None:
    """Say what closes the thinking of some logs.

    Args:
        logs: of the models that are compared.
        wanted: the text that should; None for models that do not think.
        told: whether a user said so.

    Returns:
        The text, or None where no sample holds it, nor thinking that is kept apart.

    Raises:
        ValueError: when a user said so, and no sample holds it; and for a log that lost its thinking before it was
            written.
    """
    if wanted is None:
        return None
    for log in logs:
        if log.format == "lm-eval" and not _thinks(log, wanted):
            raise ValueError(
                f"{log.name}: no response holds {wanted!r}. Where lm-eval is given think_end_token, it cuts the "
                "thinking off before it logs, and its length is lost: run it again without think_end_token. If another "
                "text closes the thinking, give it as --think-end TEXT; --think-end '' for a model that does not think."
            )
    if any(_thinks(log, wanted) for log in logs):
        return wanted
    if told:
        raise ValueError(f"No sample of {' or '.join(log.name for log in logs)} holds {wanted!r}.")
    return None


def _thinks(log: Log, think_end: str) -> bool:
    return any(one.thinking is not None or think_end in one.text for one in log.logged)
