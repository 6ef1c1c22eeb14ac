"""Describe how accuracy and tokens went over a training, from the metrics that an evaluation keeps. Pure functions.

Axes: N logged steps.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

REACH = 5
"""A smoothed value is the mean of what was logged up to this many steps before and after; at the ends of a training,
of as much of that as there is."""


@dataclass(frozen=True)
class Curve:
    """Accuracy and tokens of the rollouts of a training, smoothed.

    Attributes:
        steps_N: of the training.
        accuracy_N: share of right rollouts.
        tokens_N: mean of the rollouts.
    """

    steps_N: np.ndarray
    accuracy_N: np.ndarray
    tokens_N: np.ndarray


@dataclass(frozen=True)
class Point:
    """One step of a curve."""

    step: int
    accuracy: float
    tokens: float


def read_curve(metrics: Mapping[str, Mapping[str, Sequence[float]]]) -> Curve | None:
    """Smooth the metrics of a run at the steps at which both were logged; None where there is no such step."""
    found = [metrics.get(name, {"steps": [], "values": []}) for name in ("correct/mean", "length/mean")]
    logged = [dict(zip(one["steps"], one["values"], strict=True)) for one in found]
    steps_N = np.array(sorted(logged[0].keys() & logged[1].keys()), dtype=int)
    if not steps_N.size:
        return None
    accuracy_N, tokens_N = (smooth(steps_N, np.array([own[step] for step in steps_N.tolist()])) for own in logged)
    return Curve(steps_N, accuracy_N, tokens_N)


def smooth(steps_N: np.ndarray, values_N: np.ndarray) -> np.ndarray:
    """Take at each step the mean over those at most `REACH` steps away."""
    near_NN = np.abs(steps_N[:, None] - steps_N[None, :]) <= REACH
    return near_NN @ values_N / near_NN.sum(axis=1)


def mean_curve(curves: Sequence[Curve]) -> Curve | None:
    """Average curves at the steps that all of them have; None where there is none."""
    steps = sorted(set.intersection(*(set(curve.steps_N.tolist()) for curve in curves))) if curves else []
    if not steps:
        return None
    rows = [np.searchsorted(curve.steps_N, steps) for curve in curves]
    accuracy_N = np.mean([curve.accuracy_N[row] for curve, row in zip(curves, rows, strict=True)], axis=0)
    tokens_N = np.mean([curve.tokens_N[row] for curve, row in zip(curves, rows, strict=True)], axis=0)
    return Curve(np.array(steps), accuracy_N, tokens_N)


def point(curve: Curve, place: int) -> Point:
    """Return one step of a curve; -1 is the last."""
    return Point(int(curve.steps_N[place]), float(curve.accuracy_N[place]), float(curve.tokens_N[place]))


def lowest(curve: Curve) -> Point:
    """Find the step at which accuracy is lowest, the first of several."""
    return point(curve, int(curve.accuracy_N.argmin()))


def accuracy_at(curve: Curve, tokens: float) -> float | None:
    """Return the accuracy where the rollouts last fell to so many tokens, on a straight line between two steps; None
    where they never did."""
    before, after = curve.tokens_N[:-1], curve.tokens_N[1:]
    falls = np.flatnonzero((before > tokens) & (after <= tokens))
    if not falls.size:
        return None
    n = int(falls[-1])
    share = (before[n] - tokens) / (before[n] - after[n])
    return float(curve.accuracy_N[n] + share * (curve.accuracy_N[n + 1] - curve.accuracy_N[n]))
