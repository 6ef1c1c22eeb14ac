"""A completion while it grows: what has been heard of it, and whether it has stated the answer yet."""

import time
from collections.abc import Sequence

from concise_rl.evaluate.ask.question import Question
from concise_rl.evaluate.ask.reply import Part, Reader
from concise_rl.reading.trace import read_trace

LOOK_S = 0.1
"""Seconds between two looks at the passages, at least: tokens come faster than passages are judged."""
LOOK_SHARE = 0.1
"""Share of the time that looks may take. A long text takes longer to look at."""


class Listening:
    """Hold what is known of a completion while it grows.

    A passage is judged as soon as the next one begins. What comes later may still change how a passage reads, so the
    mark is provisional: the reply is labelled anew when it is whole.

    Attributes:
        ids: tokens so far.
        stated_at: see `Reply`.
    """

    def __init__(self, reader: Reader, question: Question) -> None:
        """
        Args:
            reader: of the model.
            question: whose right answer is looked for, where it is known.
        """
        self.reader, self.question = reader, question
        self.ids: list[int] = []
        self.stated_at: int | None = None
        self._judged = 0
        self._next_look = 0.0

    def parts(self, last: int | None = None) -> list[Part]:
        """Return the completion so far, or the `last` tokens of it."""
        return self.reader.parts(list(self.ids), self.stated_at, last=last)

    def heard(self, new: Sequence[int]) -> None:
        """Take in new tokens, and look at them now and then."""
        self.ids += new
        began = time.monotonic()
        if began >= self._next_look:
            self.look()
            now = time.monotonic()
            self._next_look = now + max(LOOK_S, (now - began) / LOOK_SHARE)

    def look(self) -> None:
        """Judge the passages that have become whole since the last look."""
        labeller = self.reader.labeller
        if labeller is None or self.question.gold is None or self.stated_at is not None:
            return
        trace = read_trace(self.ids, self.reader.delimiters)
        spans = labeller.cut(self.ids[: trace.think_length])
        whole = spans if trace.think_length < trace.length else spans[:-1]
        passages = labeller.passages(self.question.row, self.ids, whole)[self._judged :]
        states = labeller.judge.states(passages)
        first = next((i for i, stated in enumerate(states, self._judged) if stated), None)
        self._judged = len(whole)
        if first is not None:
            self.stated_at = whole[first][1]
