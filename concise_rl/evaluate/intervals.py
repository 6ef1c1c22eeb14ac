"""95 % intervals over problems, and over training seeds where a label has several. Pure functions.

Axes: P problems, S training seeds, R resamples.

Problems: a paired percentile bootstrap. Problems are the unit that was drawn at random, samples of one problem are not
independent, and two models see the same problems, so that a difference is resampled in pairs. Of scipy's methods,
`percentile` is also defined where nothing varies (all problems solved by both models, say), where BCa is NaN; with the
hundreds of problems that a claim needs, the two agree.

Training seeds: three of them are too few for a bootstrap, whose interval would hold the truth in 75 to 80 % of the
cases. Their mean is taken for one of normal draws with unknown variance. To each resample a draw of Student's t is
added, scaled by the standard error of the mean over seeds. In a difference of two methods the variances add up, and
Welch and Satterthwaite give the degrees of freedom (B. L. Welch, Biometrika 34, 1947). The noise of sampling is in
both parts, so that intervals are rather too wide than too narrow. One seed adds nothing: such an interval is about
that one trained model.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.special import stdtrit

RESAMPLES = 10_000
_BATCH = 500
"""Resamples that are worked on together; `RESAMPLES` is a multiple of it."""
DESCRIPTION = (
    f"95 % percentile bootstrap over problems, paired, {RESAMPLES:,} resamples; where a model has several training "
    "seeds, over these, too (Student's t)"
)
"""What reports say of their intervals."""
Interval = tuple[float, float]
ANY: Interval = (-math.inf, math.inf)
SHARE: Interval = (0.0, 1.0)
"""Between which every share is."""
Statistic = Callable[..., np.ndarray]
"""A function of the means of columns, along `axis`."""


@lru_cache(maxsize=2)
def resamples(num_problems: int, seed: int = 0) -> np.ndarray:
    """Return (RESAMPLES, P) how often each resample has each problem: those that `scipy.stats.bootstrap` draws from
    a seed.

    Every statistic of a report, its intervals and the Pareto front are taken over these same resamples, of seed 0. The
    tasks of a suite are drawn apart, each from a seed of its own.
    """
    rng, counts_RP = np.random.default_rng(seed), np.empty((RESAMPLES, num_problems), dtype=np.uint8)
    for start in range(0, RESAMPLES, _BATCH):
        drawn_RP = rng.integers(0, num_problems, (_BATCH, num_problems))
        drawn_RP += num_problems * np.arange(_BATCH)[:, None]
        counts = np.bincount(drawn_RP.ravel(), minlength=_BATCH * num_problems)
        counts_RP[start : start + _BATCH] = counts.reshape(_BATCH, num_problems)
    return counts_RP


def resampled_means(values_NP: np.ndarray, seed: int = 0) -> np.ndarray:
    """Return (RESAMPLES, N) means of N quantities over each resample of their P problems."""
    counts_RP = resamples(values_NP.shape[-1], seed)
    parts = [counts_RP[i : i + _BATCH].astype(float) @ values_NP.T for i in range(0, RESAMPLES, _BATCH)]
    return np.concatenate(parts) / values_NP.shape[-1]


@dataclass(frozen=True)
class Estimate:
    """A number and its 95 % interval; None where it is not defined."""

    value: float | None
    ci95: Interval | None


def estimate(
    statistic: Statistic, *columns_P: np.ndarray, runs: Sequence[np.ndarray] = (), ends: Interval = ANY
) -> Estimate:
    """Compute a statistic over problems; problems with a NaN in any column are left out of it.

    Args:
        statistic, columns_P, ends: see `interval`.
        runs: for each column (S, P) its values by training seed; nothing where seeds do not matter.
    """
    known_P = ~np.isnan(np.stack(columns_P)).any(axis=0)
    columns_P = tuple(column[known_P] for column in columns_P)
    if not known_P.any():
        return Estimate(None, None)
    found = interval(statistic, *columns_P, runs=[values_SP[:, known_P] for values_SP in runs], ends=ends)
    return Estimate(float(statistic(*columns_P, axis=-1)), found)


def interval(
    statistic: Statistic, *columns_P: np.ndarray, runs: Sequence[np.ndarray] = (), ends: Interval = ANY
) -> Interval | None:
    """Compute the 95 % interval; None with fewer than two problems.

    Without `runs` equal to that of `scipy.stats.bootstrap(paired=True, method="percentile")` to rounding, and about 15
    times as fast.

    Args:
        statistic: a function of the columns' means over problems alone, as all here are.
        columns_P: of the same problems, each of another label, all training seeds pooled.
        runs: for each column (S, P) its values by training seed.
        ends: beyond which the statistic cannot be, `SHARE` say.
    """
    if len(columns_P[0]) < 2:
        return None
    means_CR = resampled_means(np.stack(columns_P)).T
    effects = _effects(statistic, columns_P, runs) if runs else []
    return bounds(np.clip(statistic(*means_CR[..., None], axis=-1) + seed_draws(effects), *ends))


def bounds(draws_R: np.ndarray) -> Interval:
    """Return the ends of the 95 % interval of draws."""
    low, high = np.percentile(draws_R, (2.5, 97.5))
    return float(low), float(high)


def _effects(statistic: Statistic, columns_P: Sequence[np.ndarray], runs: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Return for each column (S,) what the statistic is where one training seed alone moves its mean."""
    means = [np.array([[column_P.mean()]]) for column_P in columns_P]
    found = []
    for place, values_SP in enumerate(runs):
        mean_S = mean_of_known(values_SP)
        moved_S1 = means[place] + (mean_S - np.nanmean(mean_S))[:, None]
        found.append(statistic(*means[:place], moved_S1, *means[place + 1 :], axis=-1))
    return found


def mean_of_known(values_NK: np.ndarray) -> np.ndarray:
    """Return (N,) means over what is not NaN; NaN where all is."""
    count_N = (~np.isnan(values_NK)).sum(axis=1)
    return np.where(count_N > 0, np.nansum(values_NK, axis=1) / np.maximum(count_N, 1), np.nan)


def seed_draws(effects: Sequence[np.ndarray]) -> np.ndarray:
    """Draw the errors of a number that come from the choice of training seeds: (RESAMPLES,), or a single 0 without any.

    Args:
        effects: for each label (S,) the number by training seed. Labels of one seed say nothing, nor do seeds without a
            value (NaN).
    """
    known = [values_S[~np.isnan(values_S)] for values_S in effects]
    parts = [(values_S.var(ddof=1) / len(values_S), len(values_S) - 1) for values_S in known if len(values_S) > 1]
    variance = sum(part for part, _ in parts)
    if variance == 0:
        return np.zeros(1)
    freedom = variance**2 / sum(part**2 / own for part, own in parts)
    return math.sqrt(variance) * stdtrit(freedom, _levels())


@lru_cache(maxsize=1)
def _levels() -> np.ndarray:
    """Return (RESAMPLES,) evenly spread levels between 0 and 1 in an order that has nothing to do with the resamples.

    Quantiles at these give Student's t its true spread, which random draws would only come near.
    """
    return (np.random.default_rng(1).permutation(RESAMPLES) + 0.5) / RESAMPLES
