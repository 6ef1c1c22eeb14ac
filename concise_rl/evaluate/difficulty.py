"""Describe a label at each difficulty of its problems."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from concise_rl.evaluate.intervals import Estimate, Interval
from concise_rl.evaluate.measures import Measure, estimates, mean_over_problems, mean_over_samples, share_of_samples
from concise_rl.evaluate.statistics import Table, oracle_tokens, pool
from concise_rl.evaluate.underthinking import missing_tokens, stopped_short

Group = int | float | str


@dataclass(frozen=True)
class Difficulty:
    """The problems of one difficulty, as one label answers them. Intervals are None where there is a single problem.

    Attributes:
        difficulty: as the task has it.
        problems: how many.
        accuracy, tokens: as of a label; accuracy is None where none was graded.
        oracle_tokens: of the shortest sufficient completions; None unless each of them is known.
        oracle_ratio: tokens over these.
        stopped_short, missing_tokens: see `concise_rl.evaluate.underthinking.Underthinking`.
        redundant_tokens: see `concise_rl.evaluate.overthinking.Overthinking`.
    """

    difficulty: Group
    problems: int
    accuracy: float | None
    accuracy_ci95: Interval | None
    tokens: float
    tokens_ci95: Interval | None
    oracle_tokens: float | None
    oracle_ratio: float | None
    stopped_short: Estimate
    missing_tokens: Estimate
    redundant_tokens: Estimate


def groups_of(table: Table) -> list[Group]:
    """List the difficulties, numbers before words, and numbers in words by their size; none where any problem has
    none."""
    if None in table.difficulty_P:
        return []
    return sorted({d for d in table.difficulty_P if d is not None}, key=_place)


def _place(group: Group) -> tuple[bool, float, list[tuple[bool, int, str]]]:
    if not isinstance(group, str):
        return False, group, []
    parts = re.split(r"(\d+)", group)
    return True, 0.0, [(not part.isdecimal(), int(part) if part.isdecimal() else 0, part) for part in parts]


def by_difficulty(tables: Sequence[Table], drawn: Sequence[Table]) -> list[Difficulty]:
    """Describe a label at each difficulty; empty where any problem has none.

    Args:
        tables: what is counted of each run.
        drawn: the samples of each run.
    """
    table, samples = pool(tables), pool(drawn)
    groups = groups_of(table)
    whole = _measures(groups, table, samples)
    runs = [_measures(groups, own, own_drawn) for own, own_drawn in zip(tables, drawn, strict=True)]
    found = estimates(list(whole.values()), [list(run.values()) for run in runs])
    by_place = dict(zip(whole, found, strict=True))
    return [_difficulty(group, table, {name: e for (g, name), e in by_place.items() if g == group}) for group in groups]


def _measures(groups: Sequence[Group], table: Table, drawn: Table) -> dict[tuple[Group, str], Measure]:
    """Measure the problems of each difficulty. The columns are of all problems, so that one pass resamples them all."""
    found: dict[tuple[Group, str], Measure] = {}
    redundant_PK = drawn.measures_PK["redundant_tokens"]
    for group in groups:
        is_in_P = np.array([difficulty == group for difficulty in table.difficulty_P])
        found[group, "accuracy"] = share_of_samples(_only(is_in_P[:, None], table.correct_PK))
        found[group, "tokens"] = mean_over_problems(_only(is_in_P, table.tokens_P))
        found[group, "stopped_short"] = share_of_samples(_only(is_in_P[:, None], stopped_short(drawn)))
        found[group, "missing_tokens"] = mean_over_samples(_only(is_in_P[:, None], missing_tokens(drawn)))
        found[group, "redundant_tokens"] = mean_over_samples(_only(is_in_P[:, None], redundant_PK))
    return found


def _only(is_in: np.ndarray, values: np.ndarray) -> np.ndarray:
    return np.where(is_in, values, np.nan)


def _difficulty(group: Group, table: Table, found: Mapping[str, Estimate]) -> Difficulty:
    is_in_P = np.array([difficulty == group for difficulty in table.difficulty_P])
    rows = table.rows(is_in_P)
    if is_in_P.sum() < 2:
        found = {name: Estimate(estimate.value, None) for name, estimate in found.items()}
    tokens, oracle = float(rows.tokens_P.mean()), oracle_tokens(rows)
    return Difficulty(
        difficulty=group,
        problems=int(is_in_P.sum()),
        accuracy=found["accuracy"].value,
        accuracy_ci95=found["accuracy"].ci95,
        tokens=tokens,
        tokens_ci95=found["tokens"].ci95,
        oracle_tokens=oracle,
        oracle_ratio=tokens / oracle if oracle else None,
        stopped_short=found["stopped_short"],
        missing_tokens=found["missing_tokens"],
        redundant_tokens=found["redundant_tokens"],
    )
