"""Serial groups: one sampled path, cut at several places of its thinking, each cut forced to answer."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Protocol

import numpy as np

from concise_rl.reading.trace import Delimiters, StopReason, read_trace
from concise_rl.rollout.engine import Asked, Completion, Engine, Request, derive_seed
from concise_rl.rollout.plans.plan import Parallel, Plan, Rollout, as_rollout


class Placement(Protocol):
    """Where the exits of a path are."""

    @property
    def num_exits(self) -> int:
        """Exits of each path."""
        ...

    def positions(self, thinking: int, seed: int | None) -> list[int]:
        """How many of so many thinking tokens each exit keeps, ascending."""
        ...


@dataclass(frozen=True)
class Uniform:
    """Drawn uniformly from the thinking tokens 1 to n: different ones where there are as many, else with repetition.

    Attributes:
        num_exits: of each path.
        earliest: share of the thinking that every exit keeps. 0: from the first token on.
    """

    num_exits: int
    earliest: float = 0.0

    def positions(self, thinking: int, seed: int | None) -> list[int]:
        """See `Placement.positions`. All 0 where there was no thinking; drawn anew at each call without a seed."""
        skipped = int(self.earliest * thinking)
        places = np.arange(skipped + 1, thinking + 1)
        if not len(places):
            return [0] * self.num_exits
        drawn = np.random.default_rng(seed).choice(places, self.num_exits, replace=len(places) < self.num_exits)
        return sorted(drawn.tolist())


@dataclass(frozen=True)
class AtFractions:
    """At fixed fractions of the thinking, rounded down, but after its first token where it has any.

    Attributes:
        fractions: ascending.
    """

    fractions: tuple[float, ...]

    @property
    def num_exits(self) -> int:
        """One at each fraction."""
        return len(self.fractions)

    def positions(self, thinking: int, seed: int | None) -> list[int]:
        """See `Placement.positions`. Nothing is drawn."""
        exact = [Fraction(str(fraction)) for fraction in self.fractions]  # 0.7 * 90 is below 63 in floating point
        return [max(min(1, thinking), math.floor(fraction * thinking)) for fraction in exact]


@dataclass(frozen=True)
class SerialExits(Plan):
    """A path and its exits, as S-GRPO (https://hf.co/papers/2505.07686) and JET have them.

    Requests come in runs of `num_members` that share a prompt. The first of a run is sampled: the path. Each exit is
    the path's thinking up to a cut, the exit text, and an answer sampled behind that. A run's rollouts are the exits by
    position, then the path. What a run costs is its path and the answers: `sampled` counts the path's tokens on the
    path alone. The engine is called twice, whatever the number of requests: ranks may share one.

    - A path that never closes its thinking: all its tokens but an EOS are thinking. Its exits count; it is wrong.
    - Thinking of fewer tokens than there are exits: positions repeat, and their answers are sampled apart.
    - No thinking at all: every exit is the exit text and an answer.
    - A path that reaches its cap is unfinished; its cuts are as any others. That cap is lower than the request's by the
      exit text and `answer_tokens`, so that the latest exit fits under the request's cap too.
    - An answer that reaches `answer_tokens` is unfinished.

    Attributes:
        delimiters: of the model.
        exit_ids: forced after each cut; holds the closing delimiter once.
        answer_tokens: cap of an exit's answer, EOS included.
        placement: where the exits are.
        train_prefix: whether the loss reads the thinking on the exits, too. On the path it always does.
        train_exit_text: whether it reads the exit text.
    """

    delimiters: Delimiters
    exit_ids: tuple[int, ...]
    answer_tokens: int
    placement: Placement
    train_prefix: bool = True
    train_exit_text: bool = True

    def __post_init__(self) -> None:
        if not self.delimiters.think_end:
            raise ValueError("An exit needs the delimiter that closes the thinking: set think_end.")
        if read_trace(self.exit_ids, self.delimiters).answer_ids is None:
            raise ValueError(
                "The exit text must hold the delimiter that closes the thinking (think_end) once, as the same tokens: "
                "nothing behind an exit would be an answer otherwise."
            )

    @property
    def whole_groups(self) -> bool:
        """See `Plan.whole_groups`."""
        return True

    @property
    def shared_path(self) -> bool:
        """See `Plan.shared_path`."""
        return True

    @property
    def evaluated(self) -> Plan:
        """See `Plan.evaluated`. A group of another size is no serial group."""
        return Parallel()

    @property
    def num_members(self) -> int:
        """Requests that share a path: its exits and itself."""
        return self.placement.num_exits + 1

    def check_cap(self, max_tokens: int) -> None:
        """See `Plan.check_cap`."""
        if max_tokens <= self.tail:
            raise ValueError(
                f"An exit takes {len(self.exit_ids)} forced tokens and up to {self.answer_tokens} of answer, which "
                f"leaves no thinking under a cap of {max_tokens} tokens: raise max_completion_length or lower "
                "answer_max_tokens."
            )

    @property
    def tail(self) -> int:
        """The most tokens that an exit can have behind its cut."""
        return len(self.exit_ids) + self.answer_tokens

    def rollouts(self, engine: Engine, asked: Asked) -> list[Rollout]:
        """See `Plan.rollouts`. Nothing is given up.

        Raises:
            ValueError: when a request's cap leaves no token for the thinking.
        """
        asked = replace(asked, give_up=None)
        runs = self._runs(asked.requests)
        paths = engine.generate(replace(asked, requests=[self._path_request(run[0]) for run in runs]))
        cuts = [
            self.placement.positions(read_trace(path.ids, self.delimiters).think_length, run[0].seed)
            for run, path in zip(runs, paths, strict=True)
        ]
        exits = [
            self._exit_request(request, path, cut)
            for run, path, its_cuts in zip(runs, paths, cuts, strict=True)
            for request, cut in zip(run, its_cuts, strict=False)  # the last request is the path's
        ]
        answers = iter(engine.generate(replace(asked, requests=exits)))
        return [
            rollout
            for path, its_cuts in zip(paths, cuts, strict=True)
            for rollout in [*(self._exit(path, cut, next(answers)) for cut in its_cuts), as_rollout(path)]
        ]

    def _runs(self, requests: Sequence[Request]) -> list[Sequence[Request]]:
        """The requests, by the path that they share."""
        size = self.num_members
        assert len(requests) % size == 0, f"{len(requests)} requests are not whole groups of {size}"
        runs = [requests[start : start + size] for start in range(0, len(requests), size)]
        for run in runs:
            assert all(list(r.prompt_ids) == list(run[0].prompt_ids) for r in run), (
                "the members of a group share a prompt"
            )
        return runs

    def _path_request(self, request: Request) -> Request:
        self.check_cap(request.max_tokens)
        return replace(request, max_tokens=request.max_tokens - self.tail, reserve=self.tail)

    def _exit_request(self, request: Request, path: Completion, cut: int) -> Request:
        seed = None if request.seed is None else derive_seed(request.seed, 1)  # the seed itself is a path's
        return Request([*request.prompt_ids, *path.ids[:cut], *self.exit_ids], self.answer_tokens, seed)

    def _exit(self, path: Completion, cut: int, answer: Completion) -> Rollout:
        forced = len(self.exit_ids)
        logprobs = None
        if path.logprobs is not None and answer.logprobs is not None:
            logprobs = [*path.logprobs[:cut], *[None] * forced, *answer.logprobs]
        trained = [self.train_prefix] * cut + [self.train_exit_text] * forced + [True] * len(answer.ids)
        return Rollout(
            ids=[*path.ids[:cut], *self.exit_ids, *answer.ids],
            stop_reason=StopReason.FORCED_EXIT,
            sampled=len(answer.ids),
            logprobs=logprobs,
            trained=None if all(trained) else trained,
        )
