"""Driving an exit policy: thinking is drawn in pieces, looked at, and stopped where the policy says so."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from concise_rl.reading.trace import StopReason
from concise_rl.rollout.cost import cost_of_look
from concise_rl.rollout.engine import Asked, Engine
from concise_rl.rollout.exits.looks import Looking, check_looks, take_looks
from concise_rl.rollout.exits.policy import ExitPolicy, Look, Reading, ending_of, looked_at
from concise_rl.rollout.exits.thought import LOOK, Thought, answer, begin, draw
from concise_rl.rollout.exits.tools import ExitTools
from concise_rl.rollout.plans.plan import Plan, Rollout


@dataclass
class _Watched:
    """A thought, what was read at its places so far, and whether nobody looks at it any more."""

    thought: Thought
    readings: list[Reading] = field(default_factory=list)
    is_over: bool = False


@dataclass(frozen=True)
class LivePlan(Plan):
    """Samples whose thinking an exit policy stops.

    In each round, all samples with a place that was not looked at are looked at in one batch; all others go on in
    another. Places are looked at one after the other: a sample that stops costs no look behind its stop. In the end the
    answers are sampled, in one batch. Drawing in pieces changes nothing when greedy; else it draws other samples than
    one piece would.

    Attributes:
        policy: says where to look, and when to stop.
        tools: of the model.
    """

    policy: ExitPolicy
    tools: ExitTools

    def check_cap(self, max_tokens: int) -> None:
        """See `Plan.check_cap`."""
        forced = len(self.tools.opening(())) + len(self.tools.closing(self.policy.closing))
        least = (self.policy.limit or 0) + forced + 1
        if max_tokens < least:
            raise ValueError(
                f"An exit forces up to {forced} tokens behind {self.policy.limit or 0} of thinking, and an answer "
                f"follows: raise the cap on completion tokens from {max_tokens} to {least} or more."
            )

    def rollouts(self, engine: Engine, asked: Asked) -> list[Rollout]:
        """See `Plan.rollouts`. Nothing is given up.

        Raises:
            ValueError: when a request's cap is too low, or the engine cannot look at a next token.
        """
        self.check_cap(min((request.max_tokens for request in asked.requests), default=2**31))
        look, asked = self.policy.look(self.tools), replace(asked, give_up=None)
        check_looks(engine, look)
        watched = [_Watched(thought) for thought in begin(engine, asked)]
        going = watched
        while going:
            places = [self._next_place(one) for one in going]
            self._read(engine, look, [(one, at) for one, at in zip(going, places, strict=True) if at is not None])
            others = [one for one, at in zip(going, places, strict=True) if at is None]
            self._end(others)
            drawing = [one.thought for one in others if not one.is_over]
            draw(engine, asked, drawing, self._amount, self.tools.delimiters, self.policy.stop_ids(self.tools))
            going = [one for one in going if not one.is_over]
        answer(engine, asked, [one.thought for one in watched])
        return [one.thought.rollout() for one in watched]

    def _next_place(self, one: _Watched) -> int | None:
        """Find the first place that was not looked at; None where there is none yet."""
        thought = one.thought
        places = looked_at(self.policy, thought.thinking(self.tools.delimiters), self.tools, thought.request.max_tokens)
        return places[len(one.readings)] if len(places) > len(one.readings) else None

    def _read(self, engine: Engine, look: Look | None, looking: Sequence[tuple[_Watched, int]]) -> None:
        """Look at each of the places, and stop what is enough."""
        if not looking:
            return
        for (one, at), reading in zip(looking, self._readings(engine, look, looking), strict=True):
            one.readings.append(reading)
            if look:
                prefix = len(one.thought.request.prompt_ids) + at
                suffix = look.suffix(one.thought.ids[:at], self.tools)
                one.thought.cost += cost_of_look(prefix, len(suffix), len(reading.ids))
            if self.policy.stops(one.readings, self.tools):
                self._stop(one, at)

    def _readings(self, engine: Engine, look: Look | None, looking: Sequence[tuple[_Watched, int]]) -> list[Reading]:
        """Read all places in one batch."""
        if look is None:
            return [Reading(at) for _, at in looking]
        places = [
            Looking(
                one.thought.request.prompt_ids,
                one.thought.ids[:at],
                one.thought.ids[at] if at < len(one.thought.ids) else None,
                one.thought.seed(LOOK, len(one.readings)),
            )
            for one, at in looking
        ]
        return take_looks(engine, look, places, self.tools)

    def _end(self, others: Sequence[_Watched]) -> None:
        """Mark what has no place left and does not go on: it is over, or at the limit."""
        limit = self.policy.limit
        for one in others:
            length = len(one.thought.thinking(self.tools.delimiters))
            if limit is not None and length >= limit:
                self._stop(one, limit)
            one.is_over = one.is_over or one.thought.ended is not None

    def _stop(self, one: _Watched, at: int) -> None:
        """Close the thinking at a place. Where that does not fit under the cap, it goes on."""
        thought = one.thought
        ending = ending_of(self.policy, one.readings, thought.ids[:at], thought.request.prompt_ids, self.tools)
        if at + len(ending.ids) + (not ending.answered) > thought.request.max_tokens:
            return
        thought.drop(at)
        thought.force(ending.ids)
        thought.ended = StopReason.EOS if ending.answered else StopReason.STOP_TOKEN
        one.is_over = thought.is_exit = True

    def _amount(self, thought: Thought) -> int:
        """Return how many tokens are drawn next, short of the limit; past one at which the closing did not fit."""
        at, limit = len(thought.ids), self.policy.limit
        most = self.policy.draws(at)
        return most if limit is None or at >= limit else min(most, limit - at)
