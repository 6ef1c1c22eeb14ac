"""Sample under a budget of thinking tokens: thinking is closed where it has used up its own."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from concise_rl.reading.trace import Delimiters, StopReason
from concise_rl.rollout.engine import Asked, Completion, Engine, Request, derive_seed, is_wanted
from concise_rl.rollout.plans.plan import Plan, Rollout


@dataclass(frozen=True)
class ThinkingBudget(Plan):
    """Thinking of at most `think_tokens`, closed by force where the model does not close it; then the answer.

    Elastic Reasoning (https://hf.co/papers/2505.05315): thinking and answer are sampled in two phases with a cap each.
    The closing delimiter is appended to thinking that ended without it, by the budget or by an EOS; it does not count
    in the budget. It stays in the loss; what follows an EOS inside the thinking does not.

    Attributes:
        think_tokens: cap of the thinking, the model's own closing delimiter included.
        answer_tokens: cap of what follows it, EOS included.
        delimiters: of the model.
    """

    think_tokens: int
    answer_tokens: int
    delimiters: Delimiters

    def __post_init__(self) -> None:
        if not self.delimiters.think_end:
            raise ValueError("A thinking budget needs the delimiter that closes the thinking: set think_end.")

    @property
    def max_tokens(self) -> int:
        """The most tokens that a rollout can have."""
        return self.think_tokens + len(self.delimiters.think_end) + self.answer_tokens

    def check_cap(self, max_tokens: int) -> None:
        """See `Plan.check_cap`."""
        if max_tokens < self.max_tokens:
            raise ValueError(
                f"The budgets of {self.think_tokens} thinking and {self.answer_tokens} answer tokens need a cap of "
                f"{self.max_tokens} completion tokens with the delimiter: raise it from {max_tokens}."
            )

    def rollouts(self, engine: Engine, asked: Asked) -> list[Rollout]:
        """See `Plan.rollouts`. Nothing is given up: the engine would count thinking and answers apart.

        Raises:
            ValueError: when a request's cap is below `max_tokens`.
        """
        self.check_cap(min((request.max_tokens for request in asked.requests), default=self.max_tokens))
        asked = replace(asked, give_up=None)
        thoughts = self._think(engine, replace(asked, progress=None))
        answering = [
            Request([*request.prompt_ids, *thought.ids], self.answer_tokens, _next_seed(request, 1))
            for request, thought in zip(asked.requests, thoughts, strict=True)
        ]
        answers = engine.generate(replace(asked, requests=answering))
        return [self._join(*pair) for pair in zip(thoughts, answers, strict=True)]

    def _think(self, engine: Engine, asked: Asked) -> list[Rollout]:
        """Thinking, closed. A delimiter of several tokens is looked for whenever its last token comes: ranks that share
        the engine go on until the last of them has done."""
        requests, last = asked.requests, self.delimiters.think_end[-1]
        stopping = replace(asked.sampling, stop_ids=(*asked.sampling.stop_ids, last))
        thoughts = [Rollout([], StopReason.LENGTH, 0, [] if stopping.logprobs else None) for _ in requests]
        going, turn = list(range(len(requests))), 0
        while is_wanted(engine, bool(going)):
            thinking = [
                Request(
                    [*requests[i].prompt_ids, *thoughts[i].ids],
                    self.think_tokens - thoughts[i].sampled,
                    _next_seed(requests[i], 2 + turn) if turn else requests[i].seed,
                    reserve=self.max_tokens - self.think_tokens,
                )
                for i in going
            ]
            found = engine.generate(replace(asked, requests=thinking, sampling=stopping))
            for i, completion in zip(going, found, strict=True):
                thoughts[i] = _extend(thoughts[i], completion)
            going, turn = [i for i in going if self._goes_on(thoughts[i])], turn + 1
        return [self._closed(thought) for thought in thoughts]

    def _is_closed(self, ids: Sequence[int]) -> bool:
        return tuple(ids[-len(self.delimiters.think_end) :]) == self.delimiters.think_end

    def _goes_on(self, thought: Rollout) -> bool:
        ended = thought.stop_reason is not StopReason.STOP_TOKEN or self._is_closed(thought.ids)
        return not ended and thought.sampled < self.think_tokens

    def _closed(self, thought: Rollout) -> Rollout:
        """With the delimiter at its end, forced where it is not there. Forced tokens are trained on."""
        if self._is_closed(thought.ids):
            return replace(thought, stop_reason=StopReason.STOP_TOKEN)
        forced = list(self.delimiters.think_end)
        logprobs = None if thought.logprobs is None else [*thought.logprobs, *[None] * len(forced)]
        return replace(thought, ids=[*thought.ids, *forced], logprobs=logprobs, stop_reason=StopReason.THINK_BUDGET)

    def _join(self, thought: Rollout, answer: Completion) -> Rollout:
        whole = _extend(thought, answer)
        forced = thought.stop_reason is StopReason.THINK_BUDGET
        return replace(
            whole,
            stop_reason=StopReason.THINK_BUDGET if forced else answer.stop_reason,
            trained=_through_first_eos(whole.ids, self.delimiters.eos),
        )


def _next_seed(request: Request, part: int) -> int | None:
    """The seed of a later part of a request's rollout."""
    return None if request.seed is None else derive_seed(request.seed, part)


def _extend(rollout: Rollout, completion: Completion) -> Rollout:
    """A rollout and what was sampled behind it."""
    wanted = rollout.logprobs is not None and completion.logprobs is not None
    return replace(
        rollout,
        ids=[*rollout.ids, *completion.ids],
        stop_reason=completion.stop_reason,
        sampled=rollout.sampled + len(completion.ids),
        logprobs=[*rollout.logprobs, *completion.logprobs] if wanted else None,
    )


def _through_first_eos(ids: Sequence[int], eos: frozenset[int]) -> list[bool] | None:
    """Which tokens come before the first EOS or are it; None when all do."""
    first = next((i for i, token in enumerate(ids) if token in eos), len(ids))
    return None if first >= len(ids) - 1 else [i <= first for i in range(len(ids))]
