"""Thinking as it is drawn piece by piece, and the answer behind it: what plans of exits share."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from concise_rl.reading.trace import Delimiters, StopReason
from concise_rl.rollout.cost import Cost
from concise_rl.rollout.engine import Asked, Completion, Engine, Request, Shared, derive_seed
from concise_rl.rollout.plans.plan import Rollout

DRAW, LOOK, ANSWER = 1, 2, 3
"""What a seed is derived for."""


@dataclass
class Thought:
    """The thinking of one request so far, and in the end its answer.

    Attributes:
        request: whose it is. Its cap holds for all tokens, forced ones too.
        ids: sampled and forced tokens.
        forced: how many were forced.
        draws: how often the engine was asked to go on.
        ended: why it is over: STOP_TOKEN where the thinking is closed, EOS or LENGTH. None while it goes on.
        is_exit: whether it was stopped by force.
        cost: spent besides.
        logprobs: of the ids, None for forced ones. None altogether unless they are wanted.
    """

    request: Request
    ids: list[int] = field(default_factory=list)
    forced: int = 0
    draws: int = 0
    ended: StopReason | None = None
    is_exit: bool = False
    cost: Cost = field(default_factory=Cost)
    logprobs: list[float | None] | None = None

    @property
    def room(self) -> int:
        """Return how many more tokens it may have."""
        return self.request.max_tokens - len(self.ids)

    def seed(self, what: int, number: int) -> int | None:
        """Return the seed of a part; None without one. The seed itself is that of the first tokens drawn."""
        if self.request.seed is None or (what, number) == (DRAW, 0):
            return self.request.seed
        return derive_seed(self.request.seed, what, number + 1)

    def thinking(self, delimiters: Delimiters) -> list[int]:
        """Return the tokens of the thinking: without the delimiter or the EOS that ended it."""
        if self.ended is StopReason.STOP_TOKEN:
            return self.ids[: -len(delimiters.think_end)]
        return self.ids[:-1] if self.ended is StopReason.EOS else self.ids

    def add(self, completion: Completion) -> None:
        """Add what was sampled."""
        self.ids += completion.ids
        if self.logprobs is not None:
            self.logprobs += completion.logprobs or [None] * len(completion.ids)

    def force(self, ids: Sequence[int]) -> None:
        """Add what is forced."""
        self.ids += ids
        self.forced += len(ids)
        if self.logprobs is not None:
            self.logprobs += [None] * len(ids)

    def drop(self, at: int) -> None:
        """Throw away all but the first `at` tokens. What is thrown away was sampled, and is counted."""
        self.cost += Cost(dropped=len(self.ids) - at)
        del self.ids[at:]
        if self.logprobs is not None:
            del self.logprobs[at:]

    def rollout(self) -> Rollout:
        """Return what has become of it."""
        assert self.ended is not None, "it has been drawn to its end"
        forced = self.is_exit and self.ended is StopReason.EOS
        return Rollout(
            ids=self.ids,
            stop_reason=StopReason.FORCED_EXIT if forced else self.ended,
            sampled=len(self.ids) - self.forced,
            logprobs=self.logprobs,
            cost=None if self.cost.is_zero else self.cost,
        )


def begin(engine: Engine, asked: Asked) -> list[Thought]:
    """Return a thought for each request, with nothing in it.

    Raises:
        ValueError: for an engine that ranks share: they would make different numbers of calls.
    """
    if isinstance(engine, Shared):
        raise ValueError("Exits are for evaluations: the ranks of a training share this engine.")
    return [Thought(request, logprobs=[] if asked.sampling.logprobs else None) for request in asked.requests]


def draw(
    engine: Engine,
    asked: Asked,
    thoughts: Sequence[Thought],
    amount: Callable[[Thought], int],
    delimiters: Delimiters,
    pause_ids: Sequence[int] = (),
) -> None:
    """Go on with thoughts, each until its thinking is closed, it ends, or has so many more tokens.

    Args:
        engine: samples.
        asked: how.
        thoughts: that have not ended. Several calls on them are one batch.
        amount: tokens at most, 1 or more.
        delimiters: of the model. One of several tokens is looked for whenever its last token comes.
        pause_ids: tokens at which it stops for now.
    """
    if not thoughts:
        return
    stopping = (*asked.sampling.stop_ids, delimiters.think_end[-1], *pause_ids)
    requests = []
    for thought in thoughts:
        most = min(amount(thought), thought.room)
        prompt = [*thought.request.prompt_ids, *thought.ids]
        requests.append(Request(prompt, most, thought.seed(DRAW, thought.draws), reserve=thought.room - most))
    sampling = replace(asked.sampling, stop_ids=stopping)
    found = engine.generate(Asked(requests, sampling))
    for thought, completion in zip(thoughts, found, strict=True):
        thought.add(completion)
        thought.draws += 1
        thought.ended = _ended(thought, completion, delimiters)


def _ended(thought: Thought, completion: Completion, delimiters: Delimiters) -> StopReason | None:
    if tuple(thought.ids[-len(delimiters.think_end) :]) == delimiters.think_end:
        return StopReason.STOP_TOKEN
    if completion.stop_reason is StopReason.EOS:
        return StopReason.EOS
    return None if thought.room else StopReason.LENGTH


def answer(engine: Engine, asked: Asked, thoughts: Sequence[Thought]) -> None:
    """Sample the answer behind all thoughts whose thinking is closed, to their end."""
    closed = [thought for thought in thoughts if thought.ended is StopReason.STOP_TOKEN]
    if asked.progress and len(closed) < len(thoughts):
        asked.progress(len(thoughts) - len(closed))
    requests = [
        Request([*thought.request.prompt_ids, *thought.ids], thought.room, thought.seed(ANSWER, 0))
        for thought in closed
        if thought.room
    ]
    found = iter(engine.generate(replace(asked, requests=requests)) if requests else [])
    for thought in closed:
        completion = next(found) if thought.room else None
        if completion:
            thought.add(completion)
        thought.ended = completion.stop_reason if completion else StopReason.LENGTH
