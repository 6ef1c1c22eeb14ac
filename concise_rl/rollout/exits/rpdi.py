"""RPDI-EE: stop where thinking has become much less sure than it has been so far."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import ClassVar

from pydantic import Field

from concise_rl.reading.trace import StopReason, read_trace
from concise_rl.rollout.engine import Asked, Engine
from concise_rl.rollout.exits.policy import LiveExit
from concise_rl.rollout.exits.thought import Thought, answer, begin
from concise_rl.rollout.exits.tools import ExitTools
from concise_rl.rollout.exits.watching import Drawn, draw_watched, window_means
from concise_rl.rollout.plans.plan import Plan, Rollout


class Rpdi(LiveExit):
    """Stop where the last 16 tokens were much less sure than all so far (https://hf.co/papers/2603.14251).

    The reasoning path deviation index is the mean entropy of a window of tokens over the mean of all thinking tokens up
    to there. Thinking stops where it exceeds the threshold. No code of the paper is public. Nothing is probed. Stored
    samples hold no entropies: only a live run shows what this does.
    """

    dial: ClassVar[str] = "threshold"
    grid: ClassVar[tuple[float, ...]] = (4.0, 3.0, 2.5, 2.0, 1.75, 1.5, 1.25, 1.1)

    threshold: float = Field(1.5, gt=0)
    """Index that must be exceeded."""
    window: int = Field(16, ge=1)
    """Tokens of the local mean."""
    closing: str | None = None
    """Text that closes stopped thinking; it holds the delimiter once. None: as the model learnt it."""

    def plan(self, tools: ExitTools) -> Plan:
        """See `LiveExit.plan`."""
        tools.closing(self.closing)
        return Deviating(self, tools)


@dataclass(frozen=True)
class Deviating(Plan):
    """Thinking that is drawn a window at a time, and closed where it deviates.

    What was drawn behind that place is thrown away, and counted.

    Attributes:
        rule: window and threshold.
        tools: of the model.
    """

    rule: Rpdi
    tools: ExitTools

    def check_cap(self, max_tokens: int) -> None:
        """See `Plan.check_cap`."""
        least = len(self.tools.closing(self.rule.closing)) + 2
        if max_tokens < least:
            raise ValueError(
                f"Stopped thinking is closed by {least - 2} tokens, and an answer follows: raise the cap on completion "
                f"tokens from {max_tokens} to {least} or more."
            )

    def rollouts(self, engine: Engine, asked: Asked) -> list[Rollout]:
        """See `Plan.rollouts`. Nothing is given up.

        Raises:
            ValueError: for an engine that ranks share, or a cap that is too low.
        """
        self.check_cap(min((request.max_tokens for request in asked.requests), default=2**31))
        thoughts = begin(engine, asked)
        drawn = draw_watched(engine, asked, 1, self.rule.window, lambda number, one: self._deviates(asked, number, one))
        for thought, one in zip(thoughts, drawn, strict=True):
            self._settle(thought, one)
        answer(engine, asked, [thought for thought in thoughts if thought.is_exit])
        return [thought.rollout() for thought in thoughts]

    def _deviates(self, asked: Asked, number: int, drawn: Drawn) -> int | None:
        """Find the place where thinking is to be closed; none where that has no room."""
        trace = read_trace(drawn.ids, self.tools.delimiters)
        entropies = [one.entropy for one in drawn.watched[: trace.think_length]]
        at = deviates_at(entropies, self.rule.window, self.rule.threshold)
        fits = at is not None and at + len(self._closing(drawn, at)) < asked.requests[number].max_tokens
        return at if fits else None

    def _closing(self, drawn: Drawn, at: int) -> tuple[int, ...]:
        return self.tools.closing(self.rule.closing, self.tools.ends_line(drawn.ids[:at]))

    def _settle(self, thought: Thought, drawn: Drawn) -> None:
        """Take over what was drawn, and close it where it deviated."""
        thought.ids, thought.logprobs, thought.ended = list(drawn.ids), drawn.logprobs, drawn.stop_reason
        if drawn.kept is not None:
            closing = self._closing(drawn, drawn.kept)
            thought.drop(drawn.kept)
            thought.force(closing)
            thought.ended, thought.is_exit = StopReason.STOP_TOKEN, True


def deviates_at(entropies: Sequence[float], window: int, threshold: float) -> int | None:
    """Find where thinking first deviates.

    Args:
        entropies: of each thinking token, in nats or bits.
        window: tokens of the local mean.
        threshold: times the mean of all so far that the local one has to exceed.

    Returns:
        Tokens through the one that ends the window; None where there is none.
    """
    totals = list(accumulate(entropies))
    for end, local in enumerate(window_means(entropies, window), start=window):
        if local > threshold * totals[end - 1] / end:
            return end
    return None
