"""Replay exit policies on stored thinking: with the readings of its places, a policy says where it would have stopped.

Everything here is a function of samples and probes. What is not known yet is named, so that a model can be asked.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from concise_rl.evaluate.exits.outcomes import Outcome, as_drawn, cut
from concise_rl.evaluate.exits.store import Known
from concise_rl.evaluate.samples import Sample
from concise_rl.rollout.cost import Cost, cost_of_look
from concise_rl.rollout.exits.policy import Ending, ExitPolicy, Look, Reading, ending_of, exit_at, looked_at
from concise_rl.rollout.exits.tools import ExitTools


@dataclass(frozen=True)
class Setting:
    """A policy at one value of its dial.

    Attributes:
        name: of the policy.
        value: of its dial; None for a policy without one.
        policy: with that value.
        default: whether the value is the policy's own.
    """

    name: str
    value: float | None
    policy: ExitPolicy
    default: bool


def settings_of(name: str, policy: ExitPolicy) -> list[Setting]:
    """Return a policy at each value of its grid, its own among them, in the order of the grid.

    Raises:
        ValueError: when the dial does not take a value of the grid.
    """
    if not policy.dial:
        return [Setting(name, None, policy, True)]
    own = getattr(policy, policy.dial)
    falls = len(policy.grid) > 1 and policy.grid[0] > policy.grid[-1]
    values = sorted({*policy.grid, own}, reverse=falls)
    return [Setting(name, value, turned(policy, value), value == own) for value in values]


def turned(policy: ExitPolicy, value: float) -> ExitPolicy:
    """Return a policy with its dial at another value."""
    return type(policy).model_validate({**policy.model_dump(), policy.dial: value})


@dataclass(frozen=True)
class Thinking:
    """A stored sample as a policy sees it.

    Attributes:
        sample: the completion.
        known: what has been asked of it.
        tools: of the model.
        cap: on completion tokens.
    """

    sample: Sample
    known: Known
    tools: ExitTools
    cap: int
    _places: dict[tuple[type, str], list[int]] = field(default_factory=dict, repr=False)

    @property
    def ids(self) -> list[int]:
        """Return the tokens of the thinking."""
        return self.sample.completion_ids[: self.sample.think_length]

    def places(self, policy: ExitPolicy) -> list[int]:
        """Return where a policy looks at the thinking. Policies that differ in their dial alone look at the same."""
        key = (type(policy), policy.model_dump_json(exclude={policy.dial} - {"limit"}))
        if key not in self._places:
            self._places[key] = looked_at(policy, self.ids, self.tools, self.cap)
        return self._places[key]

    def closed(self, at: int) -> Ending:
        """Return what closes the thinking at a place where no policy says what does."""
        closing = self.tools.closing(at_line_end=self.tools.ends_line(self.ids[:at]))
        opening = self.tools.opening(self.known.prompt_tail) if at == 0 else ()
        return Ending((*opening, *closing))

    def has_room(self, at: int, ending: Ending) -> bool:
        """Say whether a token of answer fits behind an ending at a place."""
        return at + len(ending.ids) + (not ending.answered) <= self.cap

    def readings(self, look: Look | None, places: Sequence[int]) -> list[Reading]:
        """Return what was read at places. Every place must have been asked."""
        if look is None:
            return [Reading(at) for at in places]
        found = self.known.readings.get(look, {})
        return [found[at] for at in places]

    def unread(self, look: Look | None, places: Sequence[int]) -> list[int]:
        """List the places where a look has not been taken."""
        if look is None:
            return []
        found = self.known.readings.get(look, {})
        return [at for at in places if at not in found]

    def stop(self, policy: ExitPolicy) -> tuple[int, Ending, list[Reading]] | None:
        """Find where a policy stops, what closes the thinking there, and the readings that it took up to there.

        Returns:
            None where it does not stop, or no answer would fit.
        """
        readings = self.readings(policy.look(self.tools), self.places(policy))
        at = exit_at(policy, readings, self.sample.think_length, self.tools)
        if at is None:
            return None
        taken = [reading for reading in readings if reading.at <= at]
        ending = ending_of(policy, taken, self.ids[:at], self.known.prompt_tail, self.tools)
        return (at, ending, taken) if self.has_room(at, ending) else None

    def outcome(self, policy: ExitPolicy) -> Outcome:
        """Return what a policy makes of the sample. The answer where it stops must have been asked."""
        stop, look = self.stop(policy), policy.look(self.tools)
        if stop is None:
            taken, drawn = self.readings(look, self.places(policy)), as_drawn(self.sample)
            return Outcome(drawn.correct, drawn.text, None, self.cost(look, taken))
        at, ending, taken = stop
        return cut(at, ending, self.known.answers[ending][at], self.cost(look, taken))

    def cost(self, look: Look | None, readings: Sequence[Reading]) -> Cost:
        """Add up what looks cost."""
        if look is None:
            return Cost()
        prompt, ids = self.known.prompt_length, self.ids
        costs = [
            cost_of_look(prompt + one.at, len(look.suffix(ids[: one.at], self.tools)), len(one.ids)) for one in readings
        ]
        return sum(costs, Cost())
