"""Chosen pairs of methods, the first minus the second: overall, by difficulty, and at equal tokens of the training."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from concise_rl.errors import unknown
from concise_rl.evaluate import text
from concise_rl.evaluate.compare.columns import Column
from concise_rl.evaluate.compare.grids import Cell, Grid, Row, cell
from concise_rl.evaluate.compare.training import stored_curves
from concise_rl.evaluate.curves import Curve, accuracy_at
from concise_rl.evaluate.difficulty import Group, groups_of
from concise_rl.evaluate.evaluation import Evaluation, Label
from concise_rl.evaluate.intervals import Estimate, bounds, estimate, mean_of_known, seed_draws
from concise_rl.evaluate.statistics import Table, accuracy_change, pool
from concise_rl.evaluate.underthinking import stopped_short

Report = Mapping[str, Any]
Values = Callable[[Table], np.ndarray]
"""(P, K) of the samples of a table; NaN where unknown."""


@dataclass(frozen=True)
class EqualTokens:
    """Two methods at the same tokens of their training rollouts.

    Attributes:
        tokens: the fewest that every run of both came down to.
        accuracy: of the first minus that of the second, where their rollouts last fell to so many. The interval is over
            training seeds; None where one of the two has a single one.
    """

    tokens: float
    accuracy: Estimate


@dataclass(frozen=True)
class AtDifficulty:
    """The problems of one difficulty."""

    difficulty: Group
    accuracy: Estimate
    tokens: Estimate


@dataclass(frozen=True)
class Contrast:
    """One method minus another, on the same problems.

    Attributes:
        first, second: labels.
        seeds: how many training seeds each has.
        accuracy, tokens: differences, over problems and training seeds.
        stopped_short: difference of the shares of samples that stopped short.
        redundant_tokens: over the problems on which both have right samples that state the answer.
        by_difficulty: the same of the problems of each difficulty; empty where there are none.
        equal_tokens: None where no training was logged, or the methods never had the same tokens.
    """

    first: str
    second: str
    seeds: tuple[int, int]
    accuracy: Estimate
    tokens: Estimate
    stopped_short: Estimate
    redundant_tokens: Estimate
    by_difficulty: Sequence[AtDifficulty]
    equal_tokens: EqualTokens | None


def contrast_all(evaluation: Evaluation, pairs: Sequence[tuple[str, str]]) -> list[Contrast]:
    """Compare chosen pairs of labels, the baseline among them.

    Raises:
        ValueError: for a label that is not there, or the same one twice.
    """
    labels = {label.name: label for _, label in evaluation.numbered}
    for pair in pairs:
        for name in pair:
            if name not in labels:
                raise unknown("model of --pair", name, labels)
        if pair[0] == pair[1]:
            raise ValueError(f"--pair {pair[0]} {pair[1]}: name two models.")
    return [_contrast(evaluation, labels[first], labels[second]) for first, second in pairs]


def _contrast(evaluation: Evaluation, first: Label, second: Label) -> Contrast:
    tables, drawn = (first.table, second.table), (pool(first.drawn), pool(second.drawn))
    curves = [[curve for _, curve in stored_curves(evaluation, label)] for label in (first, second)]
    return Contrast(
        first=first.name,
        second=second.name,
        seeds=(len(first.runs), len(second.runs)),
        accuracy=difference(_verdicts, *tables),
        tokens=difference(_tokens, *tables),
        stopped_short=difference(stopped_short, *drawn),
        redundant_tokens=difference(_redundant, *drawn),
        by_difficulty=[_at(group, *tables) for group in groups_of(tables[0])],
        equal_tokens=at_equal_tokens(*curves),
    )


def difference(values: Values, one: Table, two: Table) -> Estimate:
    """Subtract mean values of the same problems; problems of which either is not known are left out."""
    columns = [values(table) for table in (one, two)]
    runs = [table.by_run(values_PK) for table, values_PK in zip((one, two), columns, strict=True)]
    return estimate(accuracy_change, *map(mean_of_known, columns), runs=runs)


def _verdicts(table: Table) -> np.ndarray:
    return table.correct_PK


def _tokens(table: Table) -> np.ndarray:
    return table.length_PK + table.cost_PK("decoded")


def _redundant(drawn: Table) -> np.ndarray:
    return drawn.measures_PK["redundant_tokens"]


def _at(group: Group, one: Table, two: Table) -> AtDifficulty:
    is_in_P = np.array([difficulty == group for difficulty in one.difficulty_P])
    rows = one.rows(is_in_P), two.rows(is_in_P)
    return AtDifficulty(group, difference(_verdicts, *rows), difference(_tokens, *rows))


def at_equal_tokens(first: Sequence[Curve], second: Sequence[Curve]) -> EqualTokens | None:
    """Compare accuracy where the rollouts of two methods were equally long, by the curves of their training seeds."""
    if not first or not second:
        return None
    tokens = max(float(curve.tokens_N.min()) for curve in (*first, *second))
    found = [[accuracy_at(curve, tokens) for curve in curves] for curves in (first, second)]
    if any(accuracy is None for own in found for accuracy in own):
        return None
    one_S, two_S = (np.array(own, dtype=float) for own in found)
    value = float(one_S.mean() - two_S.mean())
    several = len(one_S) > 1 and len(two_S) > 1
    return EqualTokens(tokens, Estimate(value, bounds(value + seed_draws([one_S, two_S])) if several else None))


_POINTS = Column("", lambda one: None, text.points, write_end=text.points)
_SIGNED = Column("", lambda one: None, text.signed, write_end=text.signed)


def _of(name: str, column: Column) -> Column:
    return replace(column, value=lambda one: one[name]["value"], interval=lambda one: one[name]["ci95"])


OVERALL = {
    "accuracy": _of("accuracy", _POINTS),
    "tokens": _of("tokens", _SIGNED),
    "stopped short": _of("stopped_short", _POINTS),
    "redundant": _of("redundant_tokens", _SIGNED),
}


def contrast_grids(report: Report) -> list[Grid]:
    """Make the tables of the chosen pairs: overall, and accuracy by difficulty; none where none was chosen."""
    chosen = report["contrasts"]
    if not chosen:
        return []
    names = [(f"{one['first']} - {one['second']}", _seeds(one)) for one in chosen]
    found = [[*(cell(column, one) for column in OVERALL.values()), _equal(one)] for one in chosen]
    rows = [Row(name, cells, small=small) for (name, small), cells in zip(names, found, strict=True)]
    note, over = "The first minus the second; shares in points.", f"Brackets: 95 % intervals, {text.over(report)}."
    equal = "At equal tokens: accuracy of the training rollouts where both last came down to so many, over seeds alone."
    heads = [*OVERALL, "accuracy at equal tokens"]
    grids = [Grid("Chosen pairs", note, f"{over} {equal}", "pair", heads, rows)]
    groups = [at["difficulty"] for at in chosen[0]["by_difficulty"]]
    if len(groups) < 2:
        return grids
    cells = [[cell(OVERALL["accuracy"], at) for at in one["by_difficulty"]] for one in chosen]
    by = [Row(name, own, small=small) for (name, small), own in zip(names, cells, strict=True)]
    return [*grids, Grid("Chosen pairs: accuracy by difficulty", note, over, "pair", list(map(str, groups)), by)]


def _seeds(one: Mapping[str, Any]) -> str:
    first, second = one["seeds"]
    seeds = f"{first}" if first == second else f"{first} and {second}"
    return f"{seeds} seed{'s' if max(first, second) > 1 else ''}"


def _equal(one: Mapping[str, Any]) -> Cell:
    equal = one["equal_tokens"]
    if equal is None:
        return Cell(text.NONE)
    found = cell(OVERALL["accuracy"], equal)
    return replace(found, small=f"{found.small} at {text.tokens(equal['tokens'])}".strip())
