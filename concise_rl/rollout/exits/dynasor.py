"""Dynasor's chain-of-thought rule: stop when the last trial answers agree and none of them doubts."""

from collections.abc import Sequence
from typing import ClassVar

from pydantic import Field

from concise_rl.rollout.exits.events import every
from concise_rl.rollout.exits.policy import Ending, ExitPolicy, Look, Reading
from concise_rl.rollout.exits.tools import ExitTools, value_of

HEDGES = ("wait", "hold", "but", "okay", "no", "hmm")
"""What a trial answer must not say. They count inside longer words too: `no` in `not`."""


class Dynasor(ExitPolicy):
    r"""Stop when the last k trial answers are the same, and return that answer (https://hf.co/papers/2412.20993).

    - A trial answer of at most 20 tokens is sampled after every N tokens, at temperature 0.6 and top-p 0.95.
    - It is what stands before the first unpaired brace (`obtain_answer`). Without one it is empty, and ends a run.
    - Stopped thinking is closed by a sentence that holds the answer. Nothing is sampled behind it.

    Of hao-ai-lab/Dynasor, dynasor/core/cot.py: the suffix, the sentence, the hedge words, and five levels (k, N): mild
    (8, 64), low (5, 64), mid (3, 64), high (2, 64), crazy (2, 32). The default is mid. Its two servers stop after k
    trial answers that do not hedge, the same or not (`should_early_exit` in core/entropy.py ends in `return True`):
    that is not followed. Answers are equal here when their values are, as this project votes.

    The embedded reasoner's trial answer stands behind the delimiter, and so does the answer that is returned.
    """

    dial: ClassVar[str] = "k"
    grid: ClassVar[tuple[float, ...]] = (16, 12, 8, 6, 5, 4, 3, 2, 1)

    k: int = Field(3, ge=1)
    """Trial answers in a row that must be the same."""
    every: int = Field(64, ge=1)
    """Thinking tokens between two looks."""
    tokens: int = Field(20, ge=1)
    """The most that a trial answer has."""
    probe_temperature: float = Field(0.6, ge=0)
    """Of the trial answer."""
    probe_top_p: float = Field(0.95, gt=0, le=1)
    """Of the trial answer."""
    suffix: str | None = None
    """Text behind which a trial answer is decoded; None: as published."""
    answer: str | None = None
    """What is written behind stopped thinking. It holds `{answer}` and the delimiter once; None: as published."""

    def places(self, thinking_ids: Sequence[int], tools: ExitTools) -> list[int]:
        """See `ExitPolicy.places`."""
        return every(len(thinking_ids), self.every)

    def draws(self, at: int) -> int:
        """See `ExitPolicy.draws`."""
        return self.every - at % self.every

    def look(self, tools: ExitTools) -> Look:
        """See `ExitPolicy.look`."""
        ids, at_line_end = trial_suffix(self.suffix, tools)
        return Look(ids, at_line_end, self.tokens, self.probe_temperature, self.probe_top_p, tools.tokens_with("}"))

    def stops(self, readings: Sequence[Reading], tools: ExitTools) -> bool:
        """See `ExitPolicy.stops`."""
        last, suffix = readings[-self.k :], self.look(tools).suffix_ids
        if len(last) < self.k or any(hedge in tools.text(one.ids).lower() for one in last for hedge in HEDGES):
            return False
        return is_one_answer([tools.answer(one.ids, suffix) for one in last])

    def ending(self, readings: Sequence[Reading], thinking_ids: Sequence[int], tools: ExitTools) -> Ending:
        """See `ExitPolicy.ending`. At a limit, where no trial answer has won, the answer is sampled."""
        stopped = readings and readings[-1].at == len(thinking_ids) and self.stops(readings, tools)
        if not stopped:
            return super().ending(readings, thinking_ids, tools)
        found = tools.answer(readings[-1].ids, self.look(tools).suffix_ids)
        before = "" if tools.ends_line(thinking_ids) else "\n"
        embedded = f"{before}{tools.think_end}\n{{answer}}"
        sentence = (
            f"\n\n...{tools.think_end}\n Oh, I have got the answer to the whole problem\n**Final Answer:**\n\\[\n"
        )
        published = embedded if tools.is_embedded else f"{sentence} \\boxed{{{{answer}}}}\n\\]"
        text = published if self.answer is None else self.answer
        return Ending((*tools.closing(text.replace("{answer}", found)), tools.end()), answered=True)


def trial_suffix(suffix: str | None, tools: ExitTools) -> tuple[tuple[int, ...], tuple[int, ...] | None]:
    r"""Return what is forced before a trial answer, and what instead where the thinking ends a line.

    Args:
        suffix: as the user has it; None: Dynasor's, or the closing of the embedded reasoner.
        tools: of the model.
    """
    if suffix is None and tools.is_embedded:
        return tools.closing(), tools.closing(at_line_end=True)
    published = "... Oh, I suddenly got the answer to the whole problem, **Final Answer**\n\n\\[ \\boxed{"
    return tools.write(published if suffix is None else suffix), None


def is_one_answer(answers: Sequence[str]) -> bool:
    """Say whether all answers are there and have one value."""
    return all(answers) and len(set(map(value_of, answers))) == 1
