"""Rollout plans: how the rollouts of a batch come about, from requests to an engine."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from concise_rl.reading.trace import StopReason
from concise_rl.rollout.cost import Cost
from concise_rl.rollout.engine import Asked, Completion, Engine
from concise_rl.rollout.facts import Fact


@dataclass(frozen=True)
class Probe:
    """An answer that was forced after a part of a rollout's thinking, to learn what that part is worth.

    Attributes:
        at: thinking tokens of the rollout that stand before it.
        ids: tokens behind them: the exit text, which closes the thinking, and the answer.
    """

    at: int
    ids: list[int]


@dataclass(frozen=True)
class Rollout:
    """A completion as it is judged and trained on.

    Attributes:
        ids: all completion tokens, forced ones included.
        stop_reason: why it ended, or what was forced on it.
        sampled: tokens that the policy sampled for it: what it cost.
        logprobs: one for each of the `ids`, None for a forced token. None altogether unless they were asked for.
        trained: a bool for each of the `ids`: whether the loss reads that token. None: it reads all of them.
        facts: what the plan knows of it, by the names of the plan's `facts`: a number each, or a tuple of them.
        probes: answers forced after parts of its thinking. They are graded with it, but never trained on.
        cost: what was spent on it besides its text, where an exit looked at its thinking.
    """

    ids: list[int]
    stop_reason: StopReason
    sampled: int
    logprobs: list[float | None] | None = None
    trained: list[bool] | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    probes: tuple[Probe, ...] = ()
    cost: Cost | None = None


class Plan(Protocol):
    """How rollouts come about. A plan that derives from this class states only how it differs from plain sampling."""

    @property
    def facts(self) -> tuple[Fact, ...]:
        """Facts that its rollouts have."""
        return ()

    @property
    def whole_groups(self) -> bool:
        """Whether it makes the rollouts of a group together. If so, each rank has whole groups, in order."""
        return False

    @property
    def shared_path(self) -> bool:
        """Whether the members of a group begin with the same sampled tokens. `shared_prefix` is then on by default."""
        return False

    @property
    def evaluated(self) -> "Plan":
        """The plan that an evaluation during training samples with. Its groups have another size, often 1."""
        return self

    def check_cap(self, max_tokens: int) -> None:
        """Refuse a cap under which a rollout cannot hold the tokens that the plan forces. Asked before the run starts.

        Args:
            max_tokens: cap on completion tokens, forced ones included.

        Raises:
            ValueError: for such a cap, with the least that will do.
        """
        ...

    def rollouts(self, engine: Engine, asked: Asked) -> list[Rollout]:
        """Return one rollout for each request, in order.

        `Request.max_tokens` caps all tokens of a rollout, forced ones included.
        """
        ...


def as_rollout(completion: Completion) -> Rollout:
    """A completion that was sampled from its first token to its last."""
    return Rollout(completion.ids, completion.stop_reason, len(completion.ids), completion.logprobs)


@dataclass(frozen=True)
class Parallel(Plan):
    """Plain sampling: each request by itself, from its first token to its end."""

    def check_cap(self, max_tokens: int) -> None:
        """See `Plan.check_cap`. Any cap will do."""

    def rollouts(self, engine: Engine, asked: Asked) -> list[Rollout]:
        """See `Plan.rollouts`."""
        return [as_rollout(completion) for completion in engine.generate(asked)]
