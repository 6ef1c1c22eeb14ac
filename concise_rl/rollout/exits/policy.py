"""What an exit is: a rule, written once, that a live run and a replay of stored samples both follow.

An exit policy says where thinking is looked at, what is asked there, and when it is enough. It holds no state: what it
says at a place follows from the tokens before the place, and from what was read at it and before.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, NamedTuple

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from concise_rl.rollout.engine import Peeked
from concise_rl.rollout.exits.tools import ExitTools
from concise_rl.rollout.plans.plan import Plan


def _none_empty(texts: tuple[str, ...]) -> tuple[str, ...]:
    if not texts or not all(texts):
        raise ValueError("give one text or more, none of them empty")
    return texts


Texts = Annotated[
    tuple[str, ...],
    BeforeValidator(lambda given: (given,) if isinstance(given, str) else given),
    AfterValidator(_none_empty),
]
"""One text or several."""


@dataclass(frozen=True)
class Look:
    """What is asked at a place. Two policies whose looks are equal share what is read.

    Attributes:
        suffix_ids: forced behind the thinking.
        at_line_end: forced instead where the thinking ends a line; None: the same.
        tokens: the most that are decoded behind it. 0: nothing is, and only the next token is looked at.
        temperature, top_p: of what is decoded.
        stop_ids: tokens that end it, besides an EOS.
        logprobs: whether the log-probabilities of what is decoded are wanted.
        token_ids: tokens whose log-probabilities a look at the next token wants.
        probe: file of a probe whose score of the thinking token behind the place is wanted, and nothing else.
    """

    suffix_ids: tuple[int, ...]
    at_line_end: tuple[int, ...] | None = None
    tokens: int = 0
    temperature: float = 0.0
    top_p: float = 1.0
    stop_ids: tuple[int, ...] = ()
    logprobs: bool = False
    token_ids: tuple[int, ...] = ()
    probe: str = ""

    def suffix(self, thinking_ids: Sequence[int], tools: ExitTools) -> tuple[int, ...]:
        """Return what is forced behind this thinking."""
        own = self.at_line_end is None or not tools.ends_line(thinking_ids)
        return self.suffix_ids if own else self.at_line_end or ()


@dataclass(frozen=True)
class Reading:
    """What was read at a place.

    Attributes:
        at: thinking tokens before the place.
        ids: tokens decoded behind the suffix.
        logprobs: of the ids, where they were wanted.
        peeked: what a look at the next token shows; None where tokens were decoded.
        score: of a probe; None without one.
    """

    at: int
    ids: tuple[int, ...] = ()
    logprobs: tuple[float, ...] = ()
    peeked: Peeked | None = None
    score: float | None = None


class Ending(NamedTuple):
    """What stands behind thinking that was stopped.

    Attributes:
        ids: tokens that are forced: they close the thinking.
        answered: whether they hold the answer and the EOS too. Else the answer is sampled behind them.
    """

    ids: tuple[int, ...]
    answered: bool = False


class Exit(BaseModel, ABC):
    """Something that `--exit` names. Its fields are its options.

    Attributes:
        dial: the option that a bare value sets, `--exit budget:512`. A curve varies it.
        grid: its values on a curve, loosest (most thinking) to strictest. Empty: there is no curve.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)

    dial: ClassVar[str] = ""
    grid: ClassVar[tuple[float, ...]] = ()


class LiveExit(Exit):
    """An exit that changes the thinking, or reads every token of it: only a live run shows what it does."""

    @abstractmethod
    def plan(self, tools: ExitTools) -> Plan:
        """Return how samples come about under it.

        Raises:
            ValueError: when the tokenizer cannot write its texts.
        """


class ExitPolicy(Exit):
    """An exit that depends on the thinking so far alone: a stored sample and its readings tell where it stops."""

    closing: str | None = None
    """Text that closes stopped thinking; it holds the delimiter once. None: as the model learnt it."""
    limit: int | None = Field(None, ge=0)
    """Thinking tokens at which it is closed, whatever was read; None for none."""

    chunk: ClassVar[int] = 64
    """Tokens that are drawn between two looks for a place, where nothing else says."""

    @abstractmethod
    def places(self, thinking_ids: Sequence[int], tools: ExitTools) -> list[int]:
        """Return where thinking is looked at: tokens before each place, ascending.

        Places of the first n tokens are the first of the places of all: thinking is drawn piece by piece.
        """

    def look(self, tools: ExitTools) -> Look | None:
        """Return what is asked at each place; None where nothing is."""
        return None

    @abstractmethod
    def stops(self, readings: Sequence[Reading], tools: ExitTools) -> bool:
        """Say whether thinking stops at the last of the readings, which are those of all places so far, in order."""

    def ending(self, readings: Sequence[Reading], thinking_ids: Sequence[int], tools: ExitTools) -> Ending:
        """Return what closes stopped thinking.

        Args:
            readings: of the places up to the stop. At a limit there may be none.
            thinking_ids: what is kept of the thinking.
            tools: of the model.
        """
        return Ending(tools.closing(self.closing, tools.ends_line(thinking_ids)))

    def draws(self, at: int) -> int:
        """Return how many tokens are drawn behind the first `at` before places are looked for again."""
        return self.chunk

    def stop_ids(self, tools: ExitTools) -> tuple[int, ...]:
        """Return tokens after which a place is likely. Drawing pauses there, so that little is thrown away."""
        return ()


def looked_at(policy: ExitPolicy, thinking_ids: Sequence[int], tools: ExitTools, max_tokens: int) -> list[int]:
    """Return where a policy looks at thinking: at its places below its limit, while the look fits under the cap.

    Args:
        policy: says where.
        thinking_ids: known so far.
        tools: of the model.
        max_tokens: cap on completion tokens, which holds for looks too: a model's context may end there.
    """
    look, limit = policy.look(tools), policy.limit
    room = max_tokens - (len(look.suffix_ids) + max(1, look.tokens) if look else 1)
    return [
        at for at in policy.places(thinking_ids, tools) if at <= min(room, max_tokens if limit is None else limit - 1)
    ]


def ending_of(
    policy: ExitPolicy,
    readings: Sequence[Reading],
    thinking_ids: Sequence[int],
    prompt_ids: Sequence[int],
    tools: ExitTools,
) -> Ending:
    """Return what closes stopped thinking, with what opens it in front where nothing has been thought.

    Args:
        policy: says what closes it.
        readings: of its places up to the stop.
        thinking_ids: what is kept of the thinking.
        prompt_ids: before it.
        tools: of the model.
    """
    ending = policy.ending(readings, thinking_ids, tools)
    return ending if thinking_ids else ending._replace(ids=(*tools.opening(prompt_ids), *ending.ids))


def exit_at(policy: ExitPolicy, readings: Sequence[Reading], length: int, tools: ExitTools) -> int | None:
    """Return the place at which a policy stops thinking that is known to its end.

    Args:
        policy: decides.
        readings: of all its places up to `length`, ascending.
        length: thinking tokens that the sample has.
        tools: of the model.

    Returns:
        Thinking tokens that are kept; None where it never stops.
    """
    limit = length + 1 if policy.limit is None else policy.limit
    for number, reading in enumerate(readings, start=1):
        if reading.at >= limit:
            break
        if policy.stops(readings[:number], tools):
            return reading.at
    return policy.limit if length >= limit else None
