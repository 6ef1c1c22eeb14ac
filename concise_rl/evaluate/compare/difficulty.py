"""What each method makes of the problems of each difficulty, as tables."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from concise_rl.evaluate import text
from concise_rl.evaluate.compare.columns import Column
from concise_rl.evaluate.compare.grids import Cell, Grid, Row, cell
from concise_rl.evaluate.compare.wording import seeds

Report = Mapping[str, Any]
MOST = 24
"""Difficulties up to which there are tables; `compare.json` has them all."""


def _estimate(title: str, name: str, column: Column) -> Column:
    return replace(column, title=title, value=lambda at: at[name]["value"], interval=lambda at: at[name]["ci95"])


_SHARE = Column("", lambda at: None, text.percent)
_TOKENS = Column("", lambda at: None, text.tokens, write_end=text.tokens)
COLUMNS = {
    "accuracy": replace(
        _SHARE, title="Accuracy", value=lambda at: at["accuracy"], interval=lambda at: at["accuracy_ci95"]
    ),
    "tokens": replace(_TOKENS, title="Tokens", value=lambda at: at["tokens"], interval=lambda at: at["tokens_ci95"]),
    "ratio": Column("Tokens over the necessary ones", lambda at: at["oracle_ratio"], text.ratio),
    "redundant": _estimate("Redundant tokens", "redundant_tokens", _TOKENS),
    "stopped_short": _estimate("Stopped short", "stopped_short", _SHARE),
    "missing": _estimate("Missing tokens", "missing_tokens", _TOKENS),
}
"""Of the entry about one difficulty."""
NOTES = {
    "accuracy": "Share of the samples that are right. Columns: difficulty (problems).",
    "tokens": "Of a completion. Necessary: the shortest sufficient completion, where it is known.",
    "ratio": "Mean tokens over the mean of the shortest sufficient completions.",
    "redundant": "Thinking tokens of right samples behind the passage that first states the answer.",
    "stopped_short": "Samples that are wrong and stopped with fewer tokens than are necessary.",
    "missing": "Tokens by which wrong samples have fewer than are necessary; 0 where they have enough.",
}


def difficulty_grids(report: Report) -> dict[str, Grid]:
    """Make a table of each number that is known at any difficulty; none where all problems are of one, or of too
    many."""
    groups = report["model"]["by_difficulty"]
    if not 1 < len(groups) <= MOST:
        return {}
    every = [at for entry in text.all_entries(report) for at in entry["by_difficulty"]]
    known = [name for name, column in COLUMNS.items() if any(column.value(at) is not None for at in every)]
    return {name: _grid(report, name) for name in known}


def _grid(report: Report, name: str) -> Grid:
    column, groups = COLUMNS[name], report["model"]["by_difficulty"]
    heads = [f"{group['difficulty']} ({group['problems']:,})" for group in groups]
    rows = [
        Row(entry["label"], [cell(column, at) for at in entry["by_difficulty"]], index, seeds(entry))
        for index, entry in text.numbered_entries(report)
    ]
    if name == "tokens" and any(group["oracle_tokens"] for group in groups):
        rows.insert(0, Row("necessary", [_necessary(group) for group in groups]))
    intervals = "" if name == "ratio" else f"Brackets: 95 % intervals, {text.over(report)}."
    return Grid(f"{column.title} by difficulty", NOTES[name], intervals, "model", heads, rows)


def _necessary(group: Mapping[str, Any]) -> Cell:
    return Cell(text.tokens(group["oracle_tokens"]), value=group["oracle_tokens"])
