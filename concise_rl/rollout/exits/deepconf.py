"""DeepConf, online: samples that become unsure are given up, and the others of the problem vote.

DeepConf (https://hf.co/papers/2508.15260; https://github.com/facebookresearch/deepconf, deepconf/processors.py:36-55):
the confidence of a token is minus the mean log-probability of the likeliest 20; of a group, the mean over a window of
2,048. Of each problem 16 samples are drawn to their end. The bar is the 10th percentile of their lowest group
confidences; further samples end once a full window falls below it, and do not vote. The released votes are weighted by
lowest confidence or taken offline besides; here each sample that ended has one vote (`concise_rl.evaluate.vote`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from concise_rl.reading.trace import StopReason
from concise_rl.rollout.engine import Asked, Engine, Watched
from concise_rl.rollout.exits.watching import Drawn, draw_watched, window_means
from concise_rl.rollout.plans.plan import Plan, Rollout


def lowest_confidence(watched: Sequence[Watched], window: int) -> float:
    """Return the lowest mean confidence of a window; of all tokens where they do not fill one."""
    values = [one.confidence for one in watched]
    return min(window_means(values, min(window, len(values))))


def falls_below(watched: Sequence[Watched], window: int, bar: float) -> int | None:
    """Find the token that ends the first full window below the bar: how many there are through it; None for none."""
    means = window_means([one.confidence for one in watched], window)
    return next((end for end, mean in enumerate(means, start=window) if mean < bar), None)


@dataclass(frozen=True)
class DeepConf(Plan):
    """Warm-up samples of each group to their end, then the others under the bar that those set.

    Attributes:
        num_generations: members of a group.
        warmup: members that are drawn first, to their end.
        percent: percentile of their lowest confidences that is the bar.
        window: tokens that are averaged over.
        top: likeliest tokens that a confidence is the mean over.
        chunk: tokens between two looks: what is drawn behind the bar within one is thrown away.
    """

    num_generations: int
    warmup: int = 16
    percent: float = 10.0
    window: int = 2048
    top: int = 20
    chunk: int = 64

    def __post_init__(self) -> None:
        if not 0 < self.warmup < self.num_generations:
            raise ValueError(
                f"deepconf draws {self.warmup} samples of each problem to set its bar, and stops the others by it: "
                f"draw more than {self.warmup} (--samples), or lower warmup (--exit deepconf:warmup=4)."
            )

    @property
    def whole_groups(self) -> bool:
        """See `Plan.whole_groups`."""
        return True

    def check_cap(self, max_tokens: int) -> None:
        """See `Plan.check_cap`. Any cap will do."""

    def rollouts(self, engine: Engine, asked: Asked) -> list[Rollout]:
        """See `Plan.rollouts`. Requests come in whole groups. What is stopped is given up: it has no verdict."""
        size = self.num_generations
        assert len(asked.requests) % size == 0, f"{len(asked.requests)} requests are not whole groups of {size}"
        asked = replace(asked, give_up=None)
        first = [i for i in range(len(asked.requests)) if i % size < self.warmup]
        later = [i for i in range(len(asked.requests)) if i % size >= self.warmup]
        drawn = dict(zip(first, self._draw(engine, asked, first, {}), strict=True))
        bars = {group: self._bar([drawn[i] for i in first if i // size == group]) for group in {i // size for i in first}}
        drawn |= zip(later, self._draw(engine, asked, later, bars), strict=True)
        return [as_given_up(drawn[i]) for i in range(len(asked.requests))]

    def _draw(self, engine: Engine, asked: Asked, which: Sequence[int], bars: dict[int, float]) -> list[Drawn]:
        """Draw some members; under the bars of their groups, where there are any."""

        def stopped(number: int, drawn: Drawn) -> int | None:
            bar = bars.get(which[number] // self.num_generations)
            return None if bar is None else falls_below(drawn.watched, self.window, bar)

        longest = max((request.max_tokens for request in asked.requests), default=1)
        chunk = self.chunk if bars else longest
        some = replace(asked, requests=[asked.requests[i] for i in which])
        return draw_watched(engine, some, self.top, chunk, stopped)

    def _bar(self, warmups: Sequence[Drawn]) -> float:
        return float(np.percentile([lowest_confidence(one.watched, self.window) for one in warmups], self.percent))


def as_given_up(drawn: Drawn) -> Rollout:
    """A rollout of what was drawn: given up where a rule stopped it, though its end came in the same chunk."""
    reason = drawn.stop_reason if drawn.kept is None else StopReason.ABORTED
    return Rollout(drawn.ids, reason, len(drawn.ids), drawn.logprobs)
