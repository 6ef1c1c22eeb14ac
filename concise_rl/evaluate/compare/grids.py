"""Small tables of a comparison, made once for the terminal, Markdown and the page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from concise_rl.evaluate.compare.columns import Column
from concise_rl.evaluate.text import NONE, between


@dataclass(frozen=True)
class Cell:
    """One number.

    Attributes:
        text: as people read it.
        small: what stands below or behind it, an interval say.
        value: that sorts it; None for the last place.
    """

    text: str
    small: str = ""
    value: float | None = None


@dataclass(frozen=True)
class Row:
    """One line.

    Attributes:
        name: what stands in front.
        cells: of each column.
        index: by which the page colours it; None for no colour.
        small: what is said of the name, its training seeds say.
    """

    name: str
    cells: Sequence[Cell]
    index: int | None = None
    small: str = ""


@dataclass(frozen=True)
class Grid:
    """One table.

    Attributes:
        title: what stands above.
        note: what the numbers are.
        small_note: what is small.
        corner: head of the column of names.
        heads: of the other columns.
        rows: its lines.
    """

    title: str
    note: str
    small_note: str
    corner: str
    heads: Sequence[str]
    rows: Sequence[Row]


def cell(column: Column, entry: Mapping[str, Any]) -> Cell:
    """Write a number of a mapping with its interval."""
    value = column.value(entry)
    if value is None:
        return Cell(NONE)
    return Cell(column.write(value), between(column.interval(entry), column.write_end), value)


def terminal_grid(grid: Grid, small: bool) -> Table:
    """Write a grid for the terminal, with what is small or without."""
    table = Table(box=box.SIMPLE_HEAD, padding=0, title=grid.title, title_style="bold", caption_justify="left")
    table.caption = f"{grid.note} {grid.small_note}" if small else grid.note
    table.add_column(grid.corner, overflow="fold")
    for head in grid.heads:
        table.add_column(head, justify="right", overflow="fold")
    for row in grid.rows:
        table.add_row(_written(row.name, row.small, small), *(_written(c.text, c.small, small) for c in row.cells))
    return table


def _written(written: str, below: str, small: bool) -> Text:
    return Text(written).append(f"\n{below}" if small and below else "", style="dim")


def markdown_grid(grid: Grid) -> str:
    """Write a grid as Markdown, under its title, with the note below."""
    lines = [[grid.corner, *grid.heads], ["---", *["---:"] * len(grid.heads)]]
    names = [f"{row.name} ({row.small})" if row.small else row.name for row in grid.rows]
    cells = [[f"{one.text} {one.small}".strip() for one in row.cells] for row in grid.rows]
    lines += [[name, *own] for name, own in zip(names, cells, strict=True)]
    table = [f"| {' | '.join(line)} |" for line in lines]
    return "\n".join([f"**{grid.title}**", "", *table, "", f"{grid.note} {grid.small_note}"])
