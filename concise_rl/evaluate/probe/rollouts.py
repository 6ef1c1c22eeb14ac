"""Count what a few hundred samples of one model say about training it. Pure functions of the samples.

Axes: P problems, K samples of each.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import binomtest

from concise_rl.evaluate.intervals import Estimate, estimate
from concise_rl.evaluate.samples import Sample
from concise_rl.evaluate.statistics import Table, describe
from concise_rl.reading.trace import StopReason

QUANTILES = (10, 50, 90, 99)
"""Percent of the samples that are no longer."""
GROUP_SIZES = (8, 16)
"""Rollouts of a prompt that recipes take."""
BUDGETS = 40
"""Points of the curve of accuracy by budget."""


@dataclass(frozen=True)
class Groups:
    """Say how groups of rollouts of one prompt would fall, as expected shares of all groups.

    Unbiased: each problem's share is hypergeometric, over the groups that can be drawn from its samples.

    Attributes:
        size: G, rollouts of a group.
        all_right, mixed, all_wrong: by their verdicts.
        mostly_right: groups in which at least half are right.
    """

    size: int
    all_right: Estimate
    mixed: Estimate
    all_wrong: Estimate
    mostly_right: Estimate


@dataclass(frozen=True)
class Budget:
    """Accuracy under a budget of tokens for each completion.

    Attributes:
        tokens: the budget. The completion must have ended within it.
        ended: share of the graded samples that are right and ended within it; None where none was graded.
        stated: the same, if each right sample had stopped thinking behind the passage that first states its answer.
    """

    tokens: int
    ended: float | None
    stated: float | None


@dataclass(frozen=True)
class Rollouts:
    """Hold what the samples say.

    Attributes:
        problems, samples: how many there are of each; `samples` counts all of them.
        cap: tokens at which samples were cut.
        accuracy: share of right samples.
        unjudged: samples without a verdict.
        tokens: mean length.
        quantiles: tokens that so many percent of the samples do not exceed, see `QUANTILES`.
        counts, edges: histogram of the lengths.
        cut: share of the samples that the cap cut off.
        unclosed: share that ended by themselves, inside the thinking.
        closed: of the samples that were not cut, the share with exactly one closing delimiter.
        stated: of the right samples, the share whose thinking states the answer.
        redundant: share of the thinking of right samples that comes after the passage which first states the answer.
        saved: share of all tokens that stopping there would save. Wrong samples stay as long as they are.
        path_over_answer: median of thinking tokens over tokens behind the thinking.
        answer_tokens: tokens behind the thinking that 99 percent of the samples do not exceed.
        budgets: accuracy by budget.
        groups: one entry for each of `GROUP_SIZES` that the samples of a problem suffice for.
    """

    problems: int
    samples: int
    cap: int
    accuracy: Estimate
    unjudged: int
    tokens: Estimate
    quantiles: dict[int, int]
    counts: list[int]
    edges: list[int]
    cut: Estimate
    unclosed: Estimate
    closed: Estimate
    stated: Estimate
    redundant: Estimate
    saved: Estimate
    path_over_answer: Estimate
    answer_tokens: int
    budgets: list[Budget]
    groups: list[Groups]

    def group(self, size: int) -> Groups | None:
        """Find the entry for groups of one size."""
        return next((groups for groups in self.groups if groups.size == size), None)


def read_rollouts(table: Table, cap: int) -> Rollouts:
    """Count what the samples of one model say.

    Args:
        table: of the samples.
        cap: tokens at which they were cut.
    """
    described = describe(table)
    redundant_PK, think_PK = redundant_tokens(table), table.think_length_PK
    read_PK = ~np.isnan(table.measures_PK["states_answer"])
    cut_PK = table.stop_PK == StopReason.LENGTH.label
    answered_PK = np.vectorize(lambda answer: answer is not None, otypes=[bool])(table.answer_PK)
    behind_PK = np.where(answered_PK, table.length_PK - think_PK, np.nan)
    counts, edges = np.histogram(table.length_PK, histogram_edges(int(table.length_PK.max())))
    return Rollouts(
        problems=len(table.oracle_P),
        samples=table.length_PK.size,
        cap=cap,
        accuracy=share(table.correct_PK),
        unjudged=described.unjudged,
        tokens=Estimate(described.tokens, described.tokens_ci95),
        quantiles={q: math.ceil(np.percentile(table.length_PK, q, method="inverted_cdf")) for q in QUANTILES},
        counts=counts.tolist(),
        edges=[int(edge) for edge in edges],
        cut=share(cut_PK),
        unclosed=share((table.stop_PK == StopReason.EOS.label) & (think_PK == table.length_PK - 1) & ~answered_PK),
        closed=share(np.where(cut_PK, np.nan, answered_PK)),
        stated=share(table.measures_PK["states_answer"]),
        redundant=ratio(np.where(read_PK, redundant_PK, 0.0), np.where(read_PK, think_PK, 0.0)),
        saved=ratio(redundant_PK, table.length_PK),
        path_over_answer=estimate(np.median, _medians(think_PK / behind_PK)),
        answer_tokens=_most(behind_PK),
        budgets=budgets_of(table),
        groups=[groups for size in GROUP_SIZES if (groups := groups_of(table.correct_PK, size))],
    )


def redundant_tokens(table: Table) -> np.ndarray:
    """Count (P, K) thinking tokens after the passage that first states the answer; 0 where that is not known."""
    return np.nan_to_num(table.measures_PK["redundant_tokens"], nan=0.0)


def histogram_edges(longest: int, bins: int = 24) -> np.ndarray:
    """Cut equal, whole widths from 0 to the longest sample."""
    width = max(1, math.ceil((longest + 1) / bins))
    return np.arange(0, longest + width + 1, width)


def share(values_PK: np.ndarray) -> Estimate:
    """Take the mean over problems of a share, with its 95 % interval; NaN counts nowhere.

    The bootstrap has no width where all samples agree. Wilson's interval takes its place there, over the samples, as if
    these were independent.
    """
    values_PK = values_PK.astype(float)
    known = values_PK[~np.isnan(values_PK)]
    if known.size and (known == known[0]).all():
        found = binomtest(int(known.sum()), known.size).proportion_ci(method="wilson")
        return Estimate(float(known[0]), (float(found.low), float(found.high)))
    return estimate(np.mean, _means(values_PK))


def ratio(top_PK: np.ndarray, bottom_PK: np.ndarray) -> Estimate:
    """Divide sum by sum, with its 95 % interval over problems; problems whose denominator is 0 are left out."""
    bottom_P = bottom_PK.sum(axis=1)
    bottom_P = np.where(bottom_P > 0, bottom_P, np.nan)
    return estimate(lambda top, bottom, axis: top.sum(axis) / bottom.sum(axis), top_PK.sum(axis=1), bottom_P)


def _means(values_PK: np.ndarray) -> np.ndarray:
    return np.array([np.mean(row[~np.isnan(row)]) if not np.isnan(row).all() else np.nan for row in values_PK])


def _medians(values_PK: np.ndarray) -> np.ndarray:
    return np.array([np.median(row[~np.isnan(row)]) if not np.isnan(row).all() else np.nan for row in values_PK])


def _most(values_PK: np.ndarray) -> int:
    known = values_PK[~np.isnan(values_PK)]
    return math.ceil(np.percentile(known, 99, method="inverted_cdf")) if known.size else 0


def groups_of(correct_PK: np.ndarray, size: int) -> Groups | None:
    """Say how groups of `size` would fall; None where a problem has fewer graded samples than that.

    Args:
        correct_PK: (P, K) verdicts, NaN where there is none.
        size: G.
    """
    graded_P = (~np.isnan(correct_PK)).sum(axis=1)
    if graded_P.min() < size:
        return None
    right_P = np.nansum(correct_PK, axis=1).astype(int)
    chance_PR = np.array([_chances(int(r), int(n), size) for r, n in zip(right_P, graded_P, strict=True)])

    def over(numbers: slice) -> Estimate:
        return estimate(np.mean, chance_PR[:, numbers].sum(axis=1))

    half = math.ceil(size / 2)
    return Groups(size, over(slice(size, None)), over(slice(1, size)), over(slice(0, 1)), over(slice(half, None)))


def _chances(right: int, graded: int, size: int) -> list[float]:
    """Compute the chance of 0, 1, ... `size` right rollouts in a group drawn without replacement."""
    total = math.comb(graded, size)
    return [math.comb(right, r) * math.comb(graded - right, size - r) / total for r in range(size + 1)]


def budgets_of(table: Table) -> list[Budget]:
    """Count accuracy at budgets in even steps up to the longest sample."""
    longest = int(table.length_PK.max())
    step = max(1, math.ceil(longest / BUDGETS))
    needed_PK = table.length_PK - redundant_tokens(table)
    return [
        Budget(tokens, _within(table, table.length_PK, tokens), _within(table, needed_PK, tokens))
        for tokens in range(step, longest + step, step)
    ]


def _within(table: Table, needed_PK: np.ndarray, budget: int) -> float | None:
    """Take the share of the graded samples that are right with no more tokens than the budget; None without any."""
    right_PK = np.where(np.isnan(table.correct_PK), np.nan, (table.correct_PK == 1) & (needed_PK <= budget))
    means_P = _means(right_PK)
    return None if np.isnan(means_P).all() else float(np.nanmean(means_P))


def share_that_holds(samples: Sequence[Sample], text: str) -> float:
    """Take the share of the samples whose completion holds a text."""
    return sum(text in sample.text for sample in samples) / len(samples)
