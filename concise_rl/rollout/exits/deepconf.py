"""DeepConf, online: samples that become unsure are given up, and the others of the problem vote."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np
from pydantic import Field

from concise_rl.reading.trace import StopReason
from concise_rl.rollout.cost import Cost
from concise_rl.rollout.engine import Asked, Engine, Request, Watched
from concise_rl.rollout.exits.policy import LiveExit
from concise_rl.rollout.exits.tools import ExitTools
from concise_rl.rollout.exits.watching import Drawn, draw_watched, window_means
from concise_rl.rollout.plans.plan import Plan, Rollout


class DeepConf(LiveExit):
    """Give up samples that become less sure than the first ones of their problem (https://hf.co/papers/2508.15260).

    - The confidence of a token is minus the mean log-probability of the likeliest 20. It is averaged over a window.
    - Of each problem, the first samples are drawn to their end. The bar is a percentile of their lowest averages.
    - Each other sample is given up once the average of a full window falls below the bar.

    Of facebookresearch/deepconf: the window of 2,048, 16 first samples and the 10th percentile
    (deepconf/processors.py:36-55). What is given up has no verdict, and does not vote. Released votes are weighted by
    confidence, too; here each sample that ended has one (`concise-rl exits`). Nothing is stopped in order to answer.
    """

    warmup: int = Field(16, ge=1)
    """First samples of each problem, which are drawn to their end."""
    percent: float = Field(10.0, ge=0, le=100)
    """Percentile of their lowest averages that is the bar; 90 for the paper's strict variant."""
    window: int = Field(2048, ge=1)
    """Tokens that are averaged over."""
    top: int = Field(20, ge=1)
    """Likeliest tokens that a confidence is the mean over."""
    pace: int = Field(64, ge=1)
    """Tokens between two looks. What is drawn within them behind the bar is thrown away, and counted."""

    def plan(self, tools: ExitTools) -> Plan:
        """See `LiveExit.plan`."""
        return Confident(self)


@dataclass(frozen=True)
class Confident(Plan):
    """The first samples of each problem to their end, then the others under the bar that those set.

    Attributes:
        rule: how many, and under which bar.
    """

    rule: DeepConf

    @property
    def whole_groups(self) -> bool:
        """See `Plan.whole_groups`. The samples of a problem stand together."""
        return True

    def check_cap(self, max_tokens: int) -> None:
        """See `Plan.check_cap`. Any cap will do."""

    def rollouts(self, engine: Engine, asked: Asked) -> list[Rollout]:
        """See `Plan.rollouts`. What is stopped is given up: it has no verdict.

        Raises:
            ValueError: when a problem has no more samples than are drawn to set its bar.
        """
        groups = groups_of(asked.requests)
        self._check_sizes(groups)
        asked = replace(asked, give_up=None)
        first = [i for group in groups for i in group[: self.rule.warmup]]
        later = [i for group in groups for i in group[self.rule.warmup :]]
        drawn = dict(zip(first, self._draw(engine, asked, first, {}), strict=True))
        bars = {
            i: bar for group in groups for bar in [self._bar([drawn[i] for i in group if i in drawn])] for i in group
        }
        drawn |= zip(later, self._draw(engine, asked, later, bars), strict=True)
        return [as_given_up(drawn[i]) for i in range(len(asked.requests))]

    def _check_sizes(self, groups: Sequence[Sequence[int]]) -> None:
        least = min(map(len, groups), default=self.rule.warmup + 1)
        if least <= self.rule.warmup:
            raise ValueError(
                f"deepconf draws {self.rule.warmup} samples of each problem to set its bar, and there are {least} of "
                f"one here: draw more (--samples), in batches of whole problems (--batch-size), or set warmup lower, "
                f"--exit deepconf:warmup={max(1, least // 2)} say."
            )

    def _draw(self, engine: Engine, asked: Asked, which: Sequence[int], bars: dict[int, float]) -> list[Drawn]:
        """Draw some of the requests; under bars, where there are any."""

        def stopped(number: int, drawn: Drawn) -> int | None:
            return falls_below(drawn.watched, self.rule.window, bars[which[number]]) if bars else None

        pace = self.rule.pace if bars else max((request.max_tokens for request in asked.requests), default=1)
        some = replace(asked, requests=[asked.requests[i] for i in which])
        return draw_watched(engine, some, self.rule.top, pace, stopped)

    def _bar(self, first: Sequence[Drawn]) -> float:
        return float(
            np.percentile([lowest_confidence(one.watched, self.rule.window) for one in first], self.rule.percent)
        )


def groups_of(requests: Sequence[Request]) -> list[list[int]]:
    """Return the positions of requests that share a prompt and stand together."""
    keys = [tuple(request.prompt_ids) for request in requests]
    return [list(group) for _, group in groupby(range(len(requests)), key=keys.__getitem__)]


def lowest_confidence(watched: Sequence[Watched], window: int) -> float:
    """Return the lowest mean confidence of a window; of all tokens where they do not fill one."""
    values = [one.confidence for one in watched]
    return min(window_means(values, min(window, len(values))))


def falls_below(watched: Sequence[Watched], window: int, bar: float) -> int | None:
    """Find the token that ends the first full window below the bar: how many there are through it; None for none."""
    means = window_means([one.confidence for one in watched], window)
    return next((end for end, mean in enumerate(means, start=window) if mean < bar), None)


def as_given_up(drawn: Drawn) -> Rollout:
    """A rollout of what was drawn: where a rule stopped it, given up there. What was drawn behind that was paid for."""
    if drawn.kept is None:
        return Rollout(drawn.ids, drawn.stop_reason, len(drawn.ids), drawn.logprobs)
    dropped, logprobs = len(drawn.ids) - drawn.kept, drawn.logprobs and drawn.logprobs[: drawn.kept]
    cost = Cost(dropped=dropped) if dropped else None
    return Rollout(drawn.ids[: drawn.kept], StopReason.ABORTED, drawn.kept, logprobs, cost=cost)
