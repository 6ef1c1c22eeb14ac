"""ThinkBrake: stop at the end of a sentence where closing the thinking is nearly as likely as going on."""

from collections.abc import Sequence
from typing import ClassVar

from pydantic import Field

from concise_rl.rollout.exits.events import literal, places_of
from concise_rl.rollout.exits.policy import ExitPolicy, Look, Reading, Texts
from concise_rl.rollout.exits.tools import ExitTools


class ThinkBrake(ExitPolicy):
    r"""Stop where log p(likeliest token) - log p(`</think>`) <= tau (https://hf.co/papers/2510.00546).

    Both are read off one distribution, that of the token behind `.\n\n`, at temperature 1. holi-lab/ThinkBrake stops
    generation at `.\n\n` too. It compares the next token there with the delimiter behind `.\n`, which needs two looks:
    this is the rule of the paper, with one. Its README has tau = 0.1, and tries 0.25 and 2.5. Of a delimiter that is
    several tokens the first one counts. The embedded reasoner is looked at after every line.
    """

    dial: ClassVar[str] = "tau"
    grid: ClassVar[tuple[float, ...]] = (0.0, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 7.5, 10.0, 15.0, 20.0)

    tau: float = Field(0.1, ge=0)
    """Largest gap, in nats, at which thinking stops."""
    events: Texts | None = None
    r"""Texts behind which thinking is looked at; None: `.\n\n`."""

    def places(self, thinking_ids: Sequence[int], tools: ExitTools) -> list[int]:
        """See `ExitPolicy.places`."""
        return places_of([tools.text_of(token) for token in thinking_ids], literal(self._events(tools)))

    def look(self, tools: ExitTools) -> Look:
        """See `ExitPolicy.look`."""
        return Look((), token_ids=tools.delimiters.think_end[:1])

    def stops(self, readings: Sequence[Reading], tools: ExitTools) -> bool:
        """See `ExitPolicy.stops`."""
        peeked = readings[-1].peeked
        assert peeked is not None, "every place was peeked at"
        return peeked.top_logprob - peeked.logprobs[0] <= self.tau

    def stop_ids(self, tools: ExitTools) -> tuple[int, ...]:
        """See `ExitPolicy.stop_ids`."""
        return tools.pauses(*self._events(tools))

    def _events(self, tools: ExitTools) -> tuple[str, ...]:
        return (("\n",) if tools.is_embedded else (".\n\n",)) if self.events is None else self.events
