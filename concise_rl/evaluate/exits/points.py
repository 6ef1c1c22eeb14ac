"""Points of accuracy against tokens, with intervals paired over problems. Pure functions.

A point is a policy at one value of its dial, a label of the folder, or the oracle.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from concise_rl.evaluate.compare.front import on_front
from concise_rl.evaluate.exits.outcomes import Outcomes
from concise_rl.evaluate.intervals import Estimate, Interval, estimate, interval
from concise_rl.evaluate.statistics import accuracy_change, token_savings

NO_EXIT = "no exit"


@dataclass(frozen=True)
class Point:
    """What a policy, or a label, comes to.

    Attributes:
        name: of the policy or the label.
        value: of the policy's dial; None where it has none.
        default: whether that is the value that it has unless told otherwise.
        accuracy: mean over problems of the mean over graded samples.
        tokens: mean tokens of a completion, as published tables count them.
        spent: those, and the tokens that looks decode.
        cost: mean of each part of `Cost`.
        stopped: share of the samples that were stopped.
        accuracy_change: against the full samples.
        token_savings: the share of their tokens that `tokens` saves.
        spent_savings: the share that `spent` saves.
    """

    name: str
    value: float | int | None
    default: bool
    accuracy: float | None
    accuracy_ci95: Interval | None
    tokens: float
    tokens_ci95: Interval | None
    spent: float
    cost: dict[str, float]
    stopped: float
    accuracy_change: Estimate
    token_savings: Estimate
    spent_savings: Estimate


def point(name: str, outcomes: Outcomes, full: Outcomes, value: float | None = None, default: bool = False) -> Point:
    """Summarise outcomes, against those of the same samples when nothing stops them.

    Args:
        name: of the policy or label.
        outcomes: what it makes of the samples.
        full: the samples as they are: of the same problems.
        value: of its dial.
        default: whether that is its own.
    """
    known_P = outcomes.accuracy_P[~np.isnan(outcomes.accuracy_P)]
    return Point(
        name=name,
        value=value,
        default=default,
        accuracy=float(known_P.mean()) if known_P.size else None,
        accuracy_ci95=interval(np.mean, known_P),
        tokens=float(outcomes.text_P.mean()),
        tokens_ci95=interval(np.mean, outcomes.text_P),
        spent=float(outcomes.spent_P.mean()),
        cost={name: float(values_PK.mean()) for name, values_PK in outcomes.cost_PK.items()},
        stopped=float((~np.isnan(outcomes.at_PK)).mean()),
        accuracy_change=estimate(accuracy_change, outcomes.accuracy_P, full.accuracy_P),
        token_savings=estimate(token_savings, outcomes.text_P, full.text_P),
        spent_savings=estimate(token_savings, outcomes.spent_P, full.text_P),
    )


@dataclass(frozen=True)
class Beyond:
    """What a trained label saves beyond the best exit that needs no training, at no lower accuracy.

    Attributes:
        label: that was trained.
        exit: the policy, and value of its dial, with the fewest decoded tokens among those that are at least as
            accurate; `NO_EXIT` where only the full samples are, None where nothing is.
        accuracy, spent: of that exit; of the most accurate one where none is as accurate.
        savings: the share of its decoded tokens that the label saves.
    """

    label: str
    exit: str | None
    accuracy: float
    spent: float
    savings: Estimate


def beyond(label: str, trained: Outcomes, exits: Sequence[tuple[str, Outcomes]]) -> Beyond | None:
    """Compare a trained label with the best of the exits, which is chosen on the same problems: in the exits' favour.

    Args:
        label: of the trained model.
        trained: its samples.
        exits: every point of every curve, by its title; the full samples as `NO_EXIT`.

    Returns:
        None without an exit, or where an accuracy is not known.
    """
    goal = float(np.nanmean(trained.accuracy_P)) if not np.isnan(trained.accuracy_P).all() else np.nan
    rated = [(float(np.nanmean(one.accuracy_P)), float(one.spent_P.mean()), name, one) for name, one in exits]
    if not rated or np.isnan(goal):
        return None
    enough = [one for one in rated if one[0] >= goal]
    accuracy, spent, name, best = (
        min(enough, key=lambda one: (one[1], -one[0])) if enough else max(rated, key=lambda one: (one[0], -one[1]))
    )
    savings = estimate(token_savings, trained.spent_P, best.spent_P)
    return Beyond(label, name if enough else None, accuracy, spent, savings)


def mark_front(points: Sequence[tuple[float, float | None]]) -> list[bool]:
    """Say of (tokens, accuracy) pairs which no other dominates: none has no more tokens and no lower accuracy."""
    accuracy = [np.nan if one is None else one for _, one in points]
    return on_front(np.array([tokens for tokens, _ in points]), np.array(accuracy)).tolist()


def title(name: str, value: float | None) -> str:
    """Write a policy and the value of its dial as `--exit` takes them: `deer:0.95`."""
    return name if value is None else f"{name}:{value:g}"
