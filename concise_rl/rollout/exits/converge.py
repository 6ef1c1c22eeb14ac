"""Exits that watch answers settle: k equal trial answers in a row, or a run of them that outgrows all before it."""

from collections.abc import Sequence
from itertools import groupby
from typing import ClassVar

from pydantic import Field

from concise_rl.rollout.exits.dynasor import is_one_answer
from concise_rl.rollout.exits.events import SENTENCE_END, every, places_of
from concise_rl.rollout.exits.policy import ExitPolicy, Look, Reading
from concise_rl.rollout.exits.tools import ExitTools, value_of


class _Settling(ExitPolicy):
    """What both rules share: where trial answers are decoded, and how."""

    every: int | None = Field(None, ge=1)
    """Thinking tokens between two looks; None: a look at the end of every sentence and line."""
    tokens: int = Field(20, ge=1)
    """The most that a trial answer has."""
    suffix: str | None = None
    r"""Text behind which a trial answer is decoded, greedily; None: the closing and `**Final Answer**\n\boxed{`."""

    def places(self, thinking_ids: Sequence[int], tools: ExitTools) -> list[int]:
        """See `ExitPolicy.places`."""
        if self.every:
            return every(len(thinking_ids), self.every)
        return places_of([tools.text_of(token) for token in thinking_ids], SENTENCE_END)

    def draws(self, at: int) -> int:
        """See `ExitPolicy.draws`."""
        return self.every - at % self.every if self.every else self.chunk

    def stop_ids(self, tools: ExitTools) -> tuple[int, ...]:
        """See `ExitPolicy.stop_ids`."""
        return () if self.every else tools.pauses("\n")

    def look(self, tools: ExitTools) -> Look:
        """See `ExitPolicy.look`."""
        if self.suffix is not None:
            return Look(tools.write(self.suffix), None, self.tokens, stop_ids=tools.tokens_with("}"))
        cue = () if tools.is_embedded else tools.write("**Final Answer**\n\\boxed{")
        suffixes = [(*tools.closing(at_line_end=at_line_end), *cue) for at_line_end in (False, True)]
        return Look(suffixes[0], suffixes[1], self.tokens, stop_ids=tools.tokens_with("}"))

    def answers(self, readings: Sequence[Reading], tools: ExitTools) -> list[str]:
        """Return the trial answers; one that was not finished is empty."""
        suffix = self.look(tools).suffix_ids
        return [tools.answer(reading.ids, suffix) for reading in readings]


class Converge(_Settling):
    r"""Stop when k trial answers in a row have one value (answer convergence, https://hf.co/papers/2506.02536).

    The paper looks at the end of every sentence: it closes the thinking there and decodes an answer greedily. Its k was
    not read. No code of it was found: the text of the cue, and what ends a sentence, are this project's. Its two other
    ways to stop, a higher logit of the delimiter and a probe of activations, are not here.
    """

    dial: ClassVar[str] = "k"
    grid: ClassVar[tuple[float, ...]] = (32, 24, 16, 12, 8, 6, 5, 4, 3, 2, 1)

    k: int = Field(3, ge=1)
    """Trial answers in a row that must be the same, and none of them empty."""

    def stops(self, readings: Sequence[Reading], tools: ExitTools) -> bool:
        """See `ExitPolicy.stops`."""
        last = readings[-self.k :]
        return len(last) == self.k and is_one_answer(self.answers(last, tools))


class RunJump(_Settling):
    """Stop when the current run of equal trial answers is much longer than every run before it.

    A documented reading of ES-CoT (https://hf.co/papers/2509.14004), under a name of its own. The paper stops when a
    run of equal step answers exceeds the earlier ones by a statistically large jump, and has a least length. Its test
    and constants were found in no public code. Here the current run must have `least` answers, and `factor` times as
    many as the longest earlier one. An empty trial answer ends a run.
    """

    dial: ClassVar[str] = "factor"
    grid: ClassVar[tuple[float, ...]] = (8.0, 6.0, 4.0, 3.0, 2.0, 1.5, 1.0)

    factor: float = Field(2.0, ge=1)
    """How many times as long as the longest earlier run the current one must be."""
    least: int = Field(3, ge=1)
    """Trial answers that the current run must have."""

    def stops(self, readings: Sequence[Reading], tools: ExitTools) -> bool:
        """See `ExitPolicy.stops`."""
        values = [value_of(answer) if answer else "" for answer in self.answers(readings, tools)]
        runs = [(value, len(list(same))) for value, same in groupby(values)]
        (value, current), earlier = runs[-1], [length for value, length in runs[:-1] if value]
        return bool(value) and current >= max(self.least, self.factor * max(earlier, default=0))
