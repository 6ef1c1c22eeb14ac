"""Curves over the steps of a training, as the page's scripts draw them."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

Format = Literal["number", "percent", "seconds"]


@dataclass(frozen=True)
class Series:
    """One curve.

    Attributes:
        label: its name in the legend.
        x: steps, ascending.
        y: a value for each step. None and NaN are gaps; a step that is not there is none.
        color: index into the palette's `SERIES`.
    """

    label: str
    x: Sequence[float]
    y: Sequence[float | None]
    color: int = 1

    def __post_init__(self) -> None:
        assert len(self.x) == len(self.y), f"{self.label}: {len(self.x)} steps, {len(self.y)} values"


@dataclass(frozen=True)
class Panel:
    """One pair of axes.

    Attributes:
        title: what is drawn.
        series: the curves.
        note: what it means, in a line; may be empty.
        format: how values are written. Shares are written as percent.
        low, high: ends of the axis that are always in sight; None for where the values end.
        stacked: draw the curves as areas on top of each other: the parts of a whole, at the same steps.
    """

    title: str
    series: Sequence[Series]
    note: str = ""
    format: Format = "number"
    low: float | None = None
    high: float | None = None
    stacked: bool = False


def panel_data(panels: Sequence[Panel]) -> list[dict[str, Any]]:
    """Turn panels into the data that the macro `curves` takes."""
    return [asdict(panel) for panel in panels]
