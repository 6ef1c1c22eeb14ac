"""A comparison as a table: in the terminal, and in Markdown for a README."""

from collections.abc import Mapping
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from concise_rl.evaluate.compare.columns import COLUMNS, Column, shown_columns
from concise_rl.evaluate.compare.contrasts import contrast_grids
from concise_rl.evaluate.compare.difficulty import difficulty_grids
from concise_rl.evaluate.compare.grids import Grid, markdown_grid, terminal_grid
from concise_rl.evaluate.compare.training import training_grid
from concise_rl.evaluate.compare.wording import failure, named, one_seed, seeds, title
from concise_rl.evaluate.text import all_entries, between, has_labels, over, redundancy, voting

Report = Mapping[str, Any]
ON_FRONT = "●"
IN_TERMINAL = ("accuracy", "tokens", "saved", "change", "aes", "oracle", "front")
"""As many as fit 80 characters; the redundant tokens stand below the tokens."""
FIT = 8
"""Difficulties whose columns fit 80 characters."""


def terminal_table(report: Report) -> Table:
    """Write one line for each method, sorted, with its 95 % intervals below the numbers; then what failed."""
    table = Table(box=box.SIMPLE_HEAD, padding=0, title=title(report), title_style="bold", caption_justify="left")
    table.caption = caption(report)
    table.add_column("model", overflow="fold")  # rich cuts the last column off where one has a least width
    columns = {name: column for name, column in shown_columns(report).items() if name in IN_TERMINAL}
    for name, column in columns.items():
        head = column.title.replace(" ", "\n", 1)
        table.add_column(
            f"{head}\nredundant" if name == "tokens" and has_labels(report) else head, justify="right", no_wrap=True
        )
    for entry in all_entries(report):
        table.add_row(_name(entry), *(_cell(entry, name, column) for name, column in columns.items()))
    for run in report["failed"]:
        table.add_row(Text(failure(run), style="red"), Text("failed", style="red"))
    return table


def all_grids(report: Report) -> list[Grid]:
    """Return the tables beside the first one: by difficulty, over the training, of chosen pairs."""
    training = training_grid(report)
    return [*difficulty_grids(report).values(), *([training] if training else []), *contrast_grids(report)]


def terminal_grids(report: Report) -> list[Table]:
    """Write those of them that a terminal has room for; intervals of the chosen pairs alone."""
    by = difficulty_grids(report) if len(report["model"]["by_difficulty"]) <= FIT else {}
    training = training_grid(report)
    shown = [*(by[name] for name in ("accuracy", "tokens") if name in by), *([training] if training else [])]
    pairs = [terminal_grid(grid, small=True) for grid in contrast_grids(report)]
    return [*(terminal_grid(grid, small=False) for grid in shown), *pairs]


def markdown_tables(report: Report) -> str:
    """Write all tables as Markdown, the one for a README first."""
    return "\n\n".join([markdown_table(report), *map(markdown_grid, all_grids(report))])


def caption(report: Report) -> str:
    """Say what the numbers are."""
    paired = f"± and brackets: 95 % intervals, {over(report)}, paired. Accuracy change in points."
    intervals = paired if report["baseline"] else f"±: half of a 95 % interval, {over(report)}."
    front = (
        f"{ON_FRONT}: on the Pareto front of accuracy and tokens. The share: in how many resamples it is there."
        if "front" in shown_columns(report)
        else ""
    )
    single = one_seed(report) if any(entry["trained"] for entry in report["methods"]) else ""
    return "\n".join(filter(None, (intervals, single, front, redundancy(report), voting(report))))


def _name(entry: Mapping[str, Any]) -> Text:
    return Text(entry["label"]).append(f"\n{seeds(entry)}" if seeds(entry) else "", style="dim")


def _cell(entry: Mapping[str, Any], name: str, column: Column) -> Text:
    value, interval = column.value(entry), column.interval(entry)
    text = Text(column.write(value) if value is not None else "")
    if name == "front":
        return Text(f"{ON_FRONT} " if entry["front"] and entry["front"]["on_front"] else "").append_text(text)
    if name == "tokens":
        redundant = COLUMNS["redundant"]
        below = "" if redundant.value(entry) is None else redundant.write(redundant.value(entry))
    elif name == "accuracy":
        below = f"±{50 * (interval[1] - interval[0]):.1f}" if interval else ""
    else:
        below = between(interval, column.write_end)
    return text.append(f"\n{below}", style="dim") if below else text


def markdown_table(report: Report) -> str:
    """Write the table for a README: intervals in brackets behind the numbers; methods on the front are bold."""
    columns = shown_columns(report)
    heads = ["model", *(column.title for column in columns.values())]
    rows = [[_markdown_name(e), *(_markdown_cell(e, n, c) for n, c in columns.items())] for e in all_entries(report)]
    rows += [[failure(run), "failed", *[""] * (len(columns) - 1)] for run in report["failed"]]
    lines = [heads, ["---", *["---:"] * len(columns)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _markdown_name(entry: Mapping[str, Any]) -> str:
    on_front = entry["front"] and entry["front"]["on_front"]
    return named(entry).replace(entry["label"], f"**{entry['label']}**", 1) if on_front else named(entry)


def _markdown_cell(entry: Mapping[str, Any], name: str, column: Column) -> str:
    value = column.value(entry)
    if value is None:
        return ""
    interval = between(column.interval(entry), column.write_end) if name in ("saved", "change") else ""
    return f"{column.write(value)} {interval}".strip()
