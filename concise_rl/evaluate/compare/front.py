"""The Pareto front of accuracy against tokens, and how sure it is. Pure functions.

Axes: R resamples of the problems, M methods.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from concise_rl.evaluate.evaluation import Label
from concise_rl.evaluate.intervals import RESAMPLES, mean_of_known, resampled_means

_BATCH = 500


@dataclass(frozen=True)
class Means:
    """Mean tokens and mean accuracy of methods over their problems, and over each resample of the problems.

    Accuracy is over the problems that were judged for every method, so that differences are paired.

    Attributes:
        tokens_M, accuracy_M: over the problems.
        tokens_RM, accuracy_RM: over each resample: the same resamples for every method, and those of all intervals.
        tokens_MS, accuracy_MS: over the problems, by training seed; methods may have different numbers of them.
    """

    tokens_M: np.ndarray
    accuracy_M: np.ndarray
    tokens_RM: np.ndarray
    accuracy_RM: np.ndarray
    tokens_MS: tuple[np.ndarray, ...]
    accuracy_MS: tuple[np.ndarray, ...]


def resample(labels: Sequence[Label]) -> Means:
    """Take the means of labels that all have an accuracy. It is NaN where no problem was judged for all of them."""
    tokens_MP = np.stack([label.table.tokens_P for label in labels])
    accuracy_MP = np.stack([label.table.accuracy_P for label in labels])
    known_P = ~np.isnan(accuracy_MP).any(axis=0)
    known_MP = accuracy_MP[:, known_P]
    nothing_RM = np.full((RESAMPLES, len(labels)), np.nan)
    return Means(
        _mean(tokens_MP),
        _mean(known_MP) if known_MP.size else nothing_RM[0],
        resampled_means(tokens_MP),
        resampled_means(known_MP) if known_MP.size else nothing_RM,
        tuple(mean_of_known(label.table.tokens_SP) for label in labels),
        tuple(mean_of_known(label.table.accuracy_SP[:, known_P]) for label in labels),
    )


def _mean(values_MP: np.ndarray) -> np.ndarray:
    """Take means over problems, without the last digits, in which equal means may differ by the order of their sums."""
    return values_MP.mean(axis=1).round(12)


def dominates(tokens_M: np.ndarray, accuracy_M: np.ndarray) -> np.ndarray:
    """Say which method dominates which: it has no more tokens, no lower accuracy, and is not equal in both.

    Args:
        tokens_M, accuracy_M: (..., M). A method without an accuracy (NaN) dominates none, and none dominates it.

    Returns:
        (..., M, M) whether the first dominates the second.
    """
    fewer, equal = (compare(tokens_M[..., :, None], tokens_M[..., None, :]) for compare in (np.less, np.equal))
    higher, same = (compare(accuracy_M[..., :, None], accuracy_M[..., None, :]) for compare in (np.greater, np.equal))
    return (fewer & higher) | (fewer & same) | (equal & higher)


def on_front(tokens_M: np.ndarray, accuracy_M: np.ndarray) -> np.ndarray:
    """Say whether each method is on the Pareto front: it has an accuracy, and no method dominates it.

    Args:
        tokens_M, accuracy_M: (..., M).

    Returns:
        (..., M). Methods that are equal in both are there together.
    """
    return ~np.isnan(accuracy_M) & ~dominates(tokens_M, accuracy_M).any(axis=-2)


def front_shares(means: Means) -> np.ndarray:
    """Count in which share of the resamples each method is on the front: (M,)."""
    counts_M = sum(
        on_front(means.tokens_RM[i : i + _BATCH], means.accuracy_RM[i : i + _BATCH]).sum(axis=0)
        for i in range(0, RESAMPLES, _BATCH)
    )
    return np.asarray(counts_M) / RESAMPLES


def dominators(tokens_M: np.ndarray, accuracy_M: np.ndarray) -> list[int | None]:
    """Find for each method the one on the front that dominates it: the most accurate, then the shortest; else None."""
    dominates_MM, front_M = dominates(tokens_M, accuracy_M), on_front(tokens_M, accuracy_M)
    better = [np.flatnonzero(dominates_MM[:, j] & front_M).tolist() for j in range(len(tokens_M))]
    return [min(found, key=lambda i: (-accuracy_M[i], tokens_M[i]), default=None) for found in better]
