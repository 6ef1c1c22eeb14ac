"""Draw completions in chunks and watch how sure the model is of each token: for rules that read every one."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from concise_rl.reading.trace import StopReason
from concise_rl.rollout.engine import Asked, Completion, Engine, Request, Watched, derive_seed, is_wanted

Rule = Callable[[int, "Drawn"], int | None]
"""From the number of a request and what is drawn of it to how many of its tokens are kept; None to go on."""


@dataclass
class Drawn:
    """What has been drawn for one request.

    Attributes:
        ids, watched: its tokens, and how sure the model was of each.
        logprobs: of the ids; None unless they were asked for.
        stop_reason: why it ended; LENGTH while it goes on.
        kept: tokens before the place where the rule stopped it; None where it did not.
    """

    ids: list[int] = field(default_factory=list)
    watched: list[Watched] = field(default_factory=list)
    logprobs: list[float | None] | None = None
    stop_reason: StopReason = StopReason.LENGTH
    kept: int | None = None

    def add(self, completion: Completion) -> None:
        """Take in a chunk."""
        assert completion.watched is not None, "watching was asked for"
        self.ids += completion.ids
        self.watched += completion.watched
        self.stop_reason = completion.stop_reason
        if completion.logprobs is not None:
            self.logprobs = [*(self.logprobs or []), *completion.logprobs]


def draw_watched(engine: Engine, asked: Asked, watch: int, chunk: int, rule: Rule) -> list[Drawn]:
    """Draw each request until it ends or a rule stops it, `chunk` tokens at a time.

    The rule is asked between chunks, and may cut within the last one: what was drawn behind the cut is thrown away, and
    was paid for. Ranks that share the engine make as many calls as the longest of them needs.

    Args:
        engine: draws.
        asked: what; nothing is given up but by the rule.
        watch: likeliest tokens that `Watched.confidence` is the mean over.
        chunk: tokens between two looks.
        rule: see `Rule`.
    """
    drawn = [Drawn() for _ in asked.requests]
    going, turn = list(range(len(drawn))), 0
    sampling = replace(asked.sampling, watch=watch)
    while is_wanted(engine, bool(going)):
        requests = [_next(asked.requests[i], drawn[i], chunk, turn) for i in going]
        found = engine.generate(Asked(requests, sampling))
        for i, completion in zip(going, found, strict=True):
            drawn[i].add(completion)
            drawn[i].kept = rule(i, drawn[i])
        ended = [i for i in going if _has_ended(asked.requests[i], drawn[i])]
        if asked.progress:
            asked.progress(len(ended))
        going, turn = [i for i in going if i not in ended], turn + 1
    return drawn


def _next(request: Request, drawn: Drawn, chunk: int, turn: int) -> Request:
    """Ask for the next chunk of a request. Room is kept for all that may come behind it."""
    left = request.max_tokens - len(drawn.ids)
    now = min(chunk, left)
    seed = request.seed if not turn or request.seed is None else derive_seed(request.seed, 2 + turn)
    return Request([*request.prompt_ids, *drawn.ids], now, seed, reserve=left - now + request.reserve)


def _has_ended(request: Request, drawn: Drawn) -> bool:
    ended = drawn.stop_reason is not StopReason.LENGTH or len(drawn.ids) >= request.max_tokens
    return ended or drawn.kept is not None


def window_means(values: Sequence[float], window: int) -> list[float]:
    """Return the mean of each full window of so many neighbours, in order; none where there are fewer."""
    total, means = sum(values[:window]), []
    for end in range(window, len(values) + 1):
        if end > window:
            total += values[end - 1] - values[end - 1 - window]
        means.append(total / window)
    return means
