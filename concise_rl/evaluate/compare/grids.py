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
    """

    name: str
    cells: Sequence[Cell]
    index: int | None = None


@dataclass(frozen=True)
class Grid:
    """One table.

    Attributes:
        title: what stands above.
        note: what the numbers are.
        corner: head of the column of names.
        heads: of the other columns.
        rows: its lines.
        small: whether the terminal shows what is small, too.
    """

    title: str
    note: str
    corner: str
    heads: Sequence[str]
    rows: Sequence[Row]
    small: bool = True


def cell(column: Column, entry: Mapping[str, Any]) -> Cell:
    """Write a number of a mapping with its interval."""
    value = column.value(entry)
    if value is None:
        return Cell(NONE)
    return Cell(column.write(value), between(column.interval(entry), column.write_end), value)


def terminal_grid(grid: Grid) -> Table:
    """Write a grid for the terminal."""
    table = Table(box=box.SIMPLE_HEAD, padding=0, title=grid.title, title_style="bold", caption_justify="left")
    table.caption = grid.note
    table.add_column(grid.corner, overflow="fold")
    for head in grid.heads:
        table.add_column(head, justify="right", overflow="fold")
    for row in grid.rows:
        table.add_row(row.name, *(_written(one, grid.small) for one in row.cells))
    return table


def _written(one: Cell, small: bool) -> Text:
    return Text(one.text).append(f"\n{one.small}" if small and one.small else "", style="dim")


def markdown_grid(grid: Grid) -> str:
    """Write a grid as Markdown, under its title, with the note below."""
    lines = [[grid.corner, *grid.heads], ["---", *["---:"] * len(grid.heads)]]
    lines += [[row.name, *(f"{one.text} {one.small}".strip() for one in row.cells)] for row in grid.rows]
    return "\n".join([f"**{grid.title}**", "", *(f"| {' | '.join(line)} |" for line in lines), "", grid.note])
