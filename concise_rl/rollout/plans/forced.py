"""Forced beginnings: one part of a group begins with one text, the rest with another."""

from dataclasses import dataclass, replace
from typing import ClassVar

from concise_rl.rollout.engine import Asked, Completion, Engine, Request
from concise_rl.rollout.facts import Fact
from concise_rl.rollout.plans.plan import Parallel, Plan, Rollout


@dataclass(frozen=True)
class ForcedFirst(Plan):
    """Rollouts that begin with a given text: the first members of each group with one, the others with another.

    AdaptThink (https://hf.co/papers/2505.13417) makes half of a group skip its thinking so, and the other half think.
    All tokens are trained on, forced ones included. They count in the cap, but not in what was sampled.

    Facts:
        forced_first: 1 where the rollout begins with `ids`, 0 where with `others`.

    Attributes:
        ids: what the first members begin with.
        others: what the others begin with; another first token, so that the first token is the choice.
        num_generations: members of a group.
        share: of a group that begins with `ids`, rounded to whole members.
        max_tokens: cap of a rollout that begins with `ids`, where the request's is not lower. None: the request's.
    """

    ids: tuple[int, ...]
    others: tuple[int, ...]
    num_generations: int
    share: float = 0.5
    max_tokens: int | None = None

    facts: ClassVar[tuple[Fact, ...]] = (Fact("forced_first"),)
    whole_groups: ClassVar[bool] = True
    evaluated: ClassVar[Plan] = Parallel()

    def __post_init__(self) -> None:
        if not self.ids or not self.others or self.ids[0] == self.others[0]:
            raise ValueError(
                "The two texts that rollouts are forced to begin with must differ in their first token: a method reads "
                "the choice between them from that token alone."
            )

    @property
    def num_forced(self) -> int:
        """Members of a group that begin with `ids`."""
        return round(self.share * self.num_generations)

    def check_cap(self, max_tokens: int) -> None:
        """See `Plan.check_cap`."""
        longest = max(len(self.ids), len(self.others))
        if min(max_tokens, self.max_tokens or max_tokens) <= longest:
            raise ValueError(
                f"Rollouts begin with up to {longest} forced tokens, which leaves none to sample under a cap of "
                f"{min(max_tokens, self.max_tokens or max_tokens)}: raise the cap."
            )

    def rollouts(self, engine: Engine, asked: Asked) -> list[Rollout]:
        """See `Plan.rollouts`. Requests come in whole groups. Nothing is given up: forced tokens would not count.

        Raises:
            ValueError: when a request's cap leaves nothing to sample.
        """
        requests = asked.requests
        assert len(requests) % self.num_generations == 0, f"{len(requests)} requests are not whole groups"
        self.check_cap(min((request.max_tokens for request in requests), default=2**31))
        skips = [i % self.num_generations < self.num_forced for i in range(len(requests))]
        begun = [self._request(*pair) for pair in zip(requests, skips, strict=True)]
        completions = engine.generate(replace(asked, requests=begun, give_up=None))
        return [self._rollout(*pair) for pair in zip(completions, skips, strict=True)]

    def _beginning(self, is_forced: bool) -> tuple[int, ...]:
        return self.ids if is_forced else self.others

    def _request(self, request: Request, is_forced: bool) -> Request:
        beginning = self._beginning(is_forced)
        cap = min(request.max_tokens, self.max_tokens or request.max_tokens) if is_forced else request.max_tokens
        return replace(request, prompt_ids=[*request.prompt_ids, *beginning], max_tokens=cap - len(beginning))

    def _rollout(self, completion: Completion, is_forced: bool) -> Rollout:
        beginning = self._beginning(is_forced)
        logprobs = completion.logprobs and [*[None] * len(beginning), *completion.logprobs]
        return Rollout(
            ids=[*beginning, *completion.ids],
            stop_reason=completion.stop_reason,
            sampled=len(completion.ids),
            logprobs=logprobs,
            facts={"forced_first": float(is_forced)},
        )
