"""Means over tasks, and their intervals. Pure functions.

Axes: T tasks, P problems of a task, C columns of numbers by problem, R resamples.

A macro mean gives every task the same weight, as papers print averages; a pooled one gives it to every problem.
Problems are resampled within their task, and independently between tasks: tasks are fixed, problems were drawn.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from concise_rl.evaluate.intervals import Estimate, resampled_means
from concise_rl.evaluate.statistics import Table, accuracy_change, aes, token_savings

Statistic = Callable[..., np.ndarray]
"""A function of means, (..., 1) each, along the last axis: those of `concise_rl.evaluate.statistics` are."""
ColumnsCP = Sequence[np.ndarray]
"""Numbers of the same problems."""


@dataclass(frozen=True)
class TaskMean:
    """What one label says over all tasks.

    Attributes:
        accuracy, tokens: means.
        token_savings: 1 - mean tokens / mean baseline tokens; None without a baseline.
        accuracy_change: mean accuracy minus the baseline's.
        aes: of these means, see `concise_rl.evaluate.statistics.aes`. None where an accuracy is not defined.
    """

    accuracy: Estimate
    tokens: Estimate
    token_savings: Estimate | None
    accuracy_change: Estimate | None
    aes: float | None


def describe_tasks(tables: Sequence[Table], baselines: Sequence[Table] | None, pooled: bool) -> TaskMean:
    """Summarise a label over its tasks.

    Args:
        tables: of each task, its runs pooled.
        baselines: of each task, asked the same; None where there is none to compare with.
        pooled: whether problems are weighed alike, and not tasks.
    """
    own = [_columns(table) for table in tables]
    accuracy = mean_over_tasks(np.mean, [(a_P,) for a_P, _ in own], pooled)
    tokens = mean_over_tasks(np.mean, [(t_P,) for _, t_P in own], pooled)
    if baselines is None:
        return TaskMean(accuracy, tokens, None, None, None)
    base = [_columns(table) for table in baselines]
    pairs = list(zip(own, base, strict=True))
    saved = mean_over_tasks(token_savings, [(mine[1], theirs[1]) for mine, theirs in pairs], pooled)
    change = mean_over_tasks(accuracy_change, [(mine[0], theirs[0]) for mine, theirs in pairs], pooled)
    before = [mean_over_tasks(np.mean, [(one[i],) for one in base], pooled).value for i in (0, 1)]
    return TaskMean(accuracy, tokens, saved, change, _aes(before, (accuracy.value, tokens.value)))


def _columns(table: Table) -> tuple[np.ndarray, np.ndarray]:
    return table.accuracy_P, table.tokens_P


def _aes(before: Sequence[float | None], after: Sequence[float | None]) -> float | None:
    (base_accuracy, base_tokens), (accuracy, tokens) = before, after
    if base_accuracy is None or base_tokens is None or accuracy is None or tokens is None:
        return None
    return aes(base_accuracy, base_tokens, accuracy, tokens)


def mean_over_tasks(statistic: Statistic, columns_TCP: Sequence[ColumnsCP], pooled: bool) -> Estimate:
    """Compute a statistic of means over tasks, and its 95 % percentile interval.

    Args:
        statistic: of the columns' means.
        columns_TCP: of each task; problems with a NaN in any column are left out of it.
        pooled: whether problems are weighed alike, and not tasks.

    Returns:
        The estimate. Nothing where a task has no problem left; no interval where one has a single problem.
    """
    known_TCP = [_known(columns) for columns in columns_TCP]
    sizes_T = np.array([known_CP.shape[1] for known_CP in known_TCP])
    if not sizes_T.all():
        return Estimate(None, None)
    weights_T = sizes_T / sizes_T.sum() if pooled else np.full(len(sizes_T), 1 / len(sizes_T))
    means_C = sum(weight * known_CP.mean(axis=1) for weight, known_CP in zip(weights_T, known_TCP, strict=True))
    value = float(statistic(*means_C[..., None], axis=-1))
    if sizes_T.min() < 2:
        return Estimate(value, None)
    drawn_RC = sum(
        weight * resampled_means(known_CP, seed)
        for seed, (weight, known_CP) in enumerate(zip(weights_T, known_TCP, strict=True))
    )
    low, high = np.percentile(statistic(*drawn_RC.T[..., None], axis=-1), (2.5, 97.5))
    return Estimate(value, (float(low), float(high)))


def _known(columns_CP: ColumnsCP) -> np.ndarray:
    """Return (C, P) the columns of those problems of which all are known."""
    stacked_CP = np.stack(columns_CP)
    return stacked_CP[:, ~np.isnan(stacked_CP).any(axis=0)]
