"""Describe missing thinking: samples that stopped before they had what their problem takes.

Underthinking in the sense of OptimalThinkingBench (arXiv 2508.13141): too little thinking where more would have helped.
There it is low accuracy on problems that need thinking; here the shortest sufficient completion is known, and a sample
can be told by its own length. The score of "Thoughts Are All Over the Place" (arXiv 2501.18585) is another thing: the
share of a wrong sample behind its first right thought.
"""

from dataclasses import dataclass

import numpy as np

from concise_rl.evaluate.intervals import SHARE, Estimate
from concise_rl.evaluate.statistics import Table, mean_of_samples
from concise_rl.reading.trace import StopReason

STOPPED = (StopReason.EOS.label, StopReason.FORCED_EXIT.label)
"""How a sample ends that stops: by itself, or by an exit. The cap cuts it off instead."""


@dataclass(frozen=True)
class Underthinking:
    """Means over problems of the means over samples, with 95 % intervals; None where there is nothing to average.

    Attributes:
        stopped_short: share of the samples that are wrong, and stopped with fewer tokens than their problem takes.
        missing_tokens: how many tokens a wrong sample has too few, 0 where it has enough; over the wrong samples.
    """

    stopped_short: Estimate
    missing_tokens: Estimate


def describe_underthinking(drawn: Table) -> Underthinking | None:
    """Summarise the samples of a label; None where no problem's shortest sufficient completion is known."""
    if np.isnan(drawn.oracle_P).all():
        return None
    return Underthinking(
        mean_of_samples(drawn, stopped_short(drawn), SHARE), mean_of_samples(drawn, missing_tokens(drawn))
    )


def stopped_short(drawn: Table) -> np.ndarray:
    """Return (P, K) 1 for a wrong sample that stopped with fewer tokens than its problem takes, 0 for other samples.

    NaN where there is no verdict, or the shortest sufficient completion is not known.
    """
    stopped_PK = np.isin(drawn.stop_PK, STOPPED)
    short_PK = (drawn.correct_PK == 0) & stopped_PK & (drawn.length_PK < drawn.oracle_P[:, None])
    return np.where(np.isnan(drawn.correct_PK + drawn.oracle_P[:, None]), np.nan, short_PK)


def missing_tokens(drawn: Table) -> np.ndarray:
    """Return (P, K) tokens by which a wrong sample is shorter than the shortest sufficient completion, at least 0; NaN
    for other samples."""
    missing_PK = np.clip(drawn.oracle_P[:, None] - drawn.length_PK, 0, None)
    return np.where(drawn.correct_PK == 0, missing_PK, np.nan)
