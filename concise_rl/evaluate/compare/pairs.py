"""Say whether one method saves more than another at equal accuracy, for every two methods. Pure functions.

*Equal accuracy* is a claim of its own, which noise does not prove: accuracy lower by less than a margin. Each claim is
tested by the draws over problems and training seeds that give the intervals. Many pairs give many chances of an
accident: over all of them the share of false claims is held below 5 % (Benjamini and Yekutieli 2001, for tests of any
dependence).
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.stats import false_discovery_control

from concise_rl.evaluate.compare.front import Means
from concise_rl.evaluate.intervals import RESAMPLES, Estimate, bounds, seed_draws

LEVEL = 0.05
Verdict = Literal["yes", "no", "cannot tell"]


@dataclass(frozen=True)
class Pair:
    """One method against another.

    Attributes:
        first, second: positions of the methods.
        tokens: of the first minus those of the second, with its 95 % interval (of this pair alone).
        accuracy: likewise.
        first_saves, second_saves: whether that one saves tokens at equal accuracy. yes: it has fewer tokens, and its
            accuracy is not lower by the margin. no: one of the two is surely false.
    """

    first: int
    second: int
    tokens: Estimate
    accuracy: Estimate
    first_saves: Verdict
    second_saves: Verdict


def compare_pairs(means: Means, margin: float) -> list[Pair]:
    """Compare every two methods, in order.

    Args:
        means: of M methods.
        margin: by which an equal accuracy may be lower, as a fraction.
    """
    size = len(means.tokens_M)
    places = [(i, j) for i in range(size) for j in range(i + 1, size)]
    if not places or np.isnan(means.accuracy_M).any():
        return []
    ordered = [place for i, j in places for place in ((i, j), (j, i))]
    p_values = np.array([_p_values(means, i, j, margin) for i, j in ordered])
    adjusted = false_discovery_control(p_values, axis=None, method="by")
    verdicts = [_verdict(yes, no) for yes, no in np.reshape(adjusted, p_values.shape)]
    return [
        Pair(
            i,
            j,
            _difference(means.tokens_M, tokens_draws(means, i, j), i, j),
            _difference(means.accuracy_M, accuracy_draws(means, i, j), i, j),
            verdicts[2 * number],
            verdicts[2 * number + 1],
        )
        for number, (i, j) in enumerate(places)
    ]


def _p_values(means: Means, i: int, j: int, margin: float) -> tuple[float, float]:
    """Test "i saves more than j at equal accuracy", and its contrary.

    The claim has two parts, both of which must hold: the larger p-value counts. Its contrary holds when either part
    fails: twice the smaller one counts.
    """
    fewer_R = tokens_draws(means, i, j) < 0
    level_R = accuracy_draws(means, i, j) > -margin
    yes = max(_p_value(~fewer_R), _p_value(~level_R))
    no = 2 * min(_p_value(fewer_R), _p_value(level_R))
    return yes, min(1.0, no)


def tokens_draws(means: Means, i: int, j: int) -> np.ndarray:
    """Draw the tokens of i minus those of j, over problems and training seeds."""
    return means.tokens_RM[:, i] - means.tokens_RM[:, j] + seed_draws([means.tokens_MS[i], means.tokens_MS[j]])


def accuracy_draws(means: Means, i: int, j: int) -> np.ndarray:
    """Draw the accuracy of i minus that of j, over problems and training seeds."""
    return means.accuracy_RM[:, i] - means.accuracy_RM[:, j] + seed_draws([means.accuracy_MS[i], means.accuracy_MS[j]])


def _p_value(against_R: np.ndarray) -> float:
    return float((1 + against_R.sum()) / (1 + RESAMPLES))


def _verdict(yes: float, no: float) -> Verdict:
    return "yes" if yes < LEVEL else "no" if no < LEVEL else "cannot tell"


def _difference(values_M: np.ndarray, draws_R: np.ndarray, i: int, j: int) -> Estimate:
    return Estimate(float(values_M[i] - values_M[j]), bounds(draws_R))
