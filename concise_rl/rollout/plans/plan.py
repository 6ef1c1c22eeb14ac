"""Rollout plans: how the rollouts of a batch come about, from requests to an engine."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

from concise_rl.reading.trace import StopReason
from concise_rl.rollout.engine import Completion, Engine, Progress, Request, Sampling
from concise_rl.rollout.facts import Fact
from concise_rl.rollout.shortest import ShortestOnly


@dataclass(frozen=True)
class Rollout:
    """A completion as it is judged and trained on.

    Attributes:
        ids: all completion tokens, forced ones included.
        stop_reason: why it ended, or what was forced on it.
        sampled: tokens that the policy sampled for it: what it cost.
        logprobs: of each token; None for one that was forced, or altogether.
        trained: for each token whether the loss may read it. None: all of them.
    """

    ids: list[int]
    stop_reason: StopReason
    sampled: int
    logprobs: list[float | None] | None = None
    trained: list[bool] | None = None


class Plan(Protocol):
    """How rollouts come about."""

    @property
    def facts(self) -> tuple[Fact, ...]:
        """Facts that it knows of each rollout."""
        ...

    @property
    def whole_groups(self) -> bool:
        """Whether groups have to lie whole on a rank, because the place of a member in its group means something."""
        ...

    @property
    def shared_path(self) -> bool:
        """Whether members of a group leave one path: what they share is then run through the model once."""
        ...

    @property
    def evaluated(self) -> "Plan":
        """What an evaluation during training samples instead: its groups have another size, often 1."""
        ...

    def check_cap(self, max_tokens: int) -> None:
        """
        Raises:
            ValueError: when a rollout of at most `max_tokens` cannot hold what the plan puts into it.
        """
        ...

    def rollouts(
        self,
        engine: Engine,
        requests: Sequence[Request],
        sampling: Sampling,
        progress: Progress | None = None,
        rule: ShortestOnly | None = None,
    ) -> list[Rollout]:
        """One rollout for each request, in order. `Request.max_tokens` caps all its tokens, forced ones included."""
        ...


def as_rollout(completion: Completion) -> Rollout:
    """A completion that was sampled from its first token to its last."""
    return Rollout(completion.ids, completion.stop_reason, len(completion.ids), completion.logprobs)


@dataclass(frozen=True)
class Parallel:
    """Plain sampling: each request by itself, from its first token to its end."""

    facts: ClassVar[tuple[Fact, ...]] = ()
    whole_groups: ClassVar[bool] = False
    shared_path: ClassVar[bool] = False

    @property
    def evaluated(self) -> "Parallel":
        """See `Plan.evaluated`."""
        return self

    def check_cap(self, max_tokens: int) -> None:
        """See `Plan.check_cap`. Any cap will do."""

    def rollouts(
        self,
        engine: Engine,
        requests: Sequence[Request],
        sampling: Sampling,
        progress: Progress | None = None,
        rule: ShortestOnly | None = None,
    ) -> list[Rollout]:
        """See `Plan.rollouts`."""
        return [as_rollout(completion) for completion in engine.generate(requests, sampling, progress, rule)]
