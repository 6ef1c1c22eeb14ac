"""s1's extension: a model that would stop thinking is made to go on."""

from dataclasses import dataclass, replace
from typing import ClassVar

from pydantic import Field

from concise_rl.reading.trace import StopReason
from concise_rl.rollout.engine import Asked, Engine
from concise_rl.rollout.exits.policy import LiveExit
from concise_rl.rollout.exits.thought import Thought, answer, begin, draw
from concise_rl.rollout.exits.tools import ExitTools
from concise_rl.rollout.plans.plan import Plan, Rollout


class Extend(LiveExit):
    """Drop the end of the thinking N times, and force `Wait` there: the lower half of s1's budget forcing.

    s1 (https://hf.co/papers/2501.19393; simplescaling/s1, eval/lm-evaluation-harness/lm_eval/models/
    vllm_causallms.py:239-412): where the thinking is closed, the delimiter is dropped and `Wait` appended. What remains
    of the cap is drawn. It tries 1 to 6 times. An EOS inside the thinking ends the sample there, too, here.
    """

    dial: ClassVar[str] = "times"

    times: int = Field(1, ge=1)
    """How often the end of the thinking is dropped."""
    words: str = "Wait"
    """Text that is forced instead of it."""

    def plan(self, tools: ExitTools) -> Plan:
        """See `LiveExit.plan`."""
        return ExtendPlan(self.times, tools.write(self.words), tools)


@dataclass(frozen=True)
class ExtendPlan(Plan):
    """Samples whose thinking is made to go on.

    Attributes:
        times: how often.
        words: tokens that are forced where it would end.
        tools: of the model.
    """

    times: int
    words: tuple[int, ...]
    tools: ExitTools

    def check_cap(self, max_tokens: int) -> None:
        """See `Plan.check_cap`. Thinking that ends too near to the cap is not made to go on."""

    def rollouts(self, engine: Engine, asked: Asked) -> list[Rollout]:
        """See `Plan.rollouts`. Nothing is given up."""
        asked = replace(asked, give_up=None)
        thoughts, delimiters = begin(engine, asked), self.tools.delimiters
        self._draw_thinking(engine, asked, thoughts)
        for _ in range(self.times):
            extended = [thought for thought in thoughts if self._go_on(thought, len(delimiters.think_end))]
            self._draw_thinking(engine, asked, extended)
        answer(engine, asked, thoughts)
        return [thought.rollout() for thought in thoughts]

    def _draw_thinking(self, engine: Engine, asked: Asked, thoughts: list[Thought]) -> None:
        """Draw thinking to its end."""
        while going := [thought for thought in thoughts if thought.ended is None]:
            draw(engine, asked, going, lambda thought: thought.room, self.tools.delimiters)

    def _go_on(self, thought: Thought, delimiter: int) -> bool:
        """Drop the delimiter and force the words. A token of thinking must still fit behind them."""
        if thought.ended is not StopReason.STOP_TOKEN or thought.room + delimiter <= len(self.words):
            return False
        thought.drop(len(thought.ids) - delimiter)
        thought.force(self.words)
        thought.ended = None
        return True
