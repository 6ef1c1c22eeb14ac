"""The figures of a comparison: accuracy against tokens with the Pareto front, near the front, and by difficulty."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter
from matplotlib.transforms import Bbox

from concise_rl.evaluate import text
from concise_rl.evaluate.compare.front import on_front
from concise_rl.evaluate.plots import (
    AID,
    INK,
    MARKERS,
    MAX_DIFFICULTIES,
    MUTED,
    PAPER,
    STYLE,
    color,
    distances,
    limit_accuracy,
    svg,
)
from concise_rl.output.pages.palette import color_index

Report = Mapping[str, Any]
NEAR = 1.5
"""Tokens, as a multiple of the fewest, up to which a model is shown in the figure of those near the front."""
FINE = 0.06
"""Range of accuracies up to which the axis has a decimal."""
FEW = 8
"""Models up to which the small figures have all names; otherwise those on the front."""
_PANEL = (3.1, 2.6)
_BEHIND: Any = {"facecolor": PAPER, "edgecolor": "none", "alpha": 0.7, "pad": 0.8}
_BESIDE = ((7, 0, "left", "center"), (-7, 0, "right", "center"), (0, 7, "center", "bottom"), (0, -7, "center", "top"))
_ASKEW = tuple((x, y, "left" if x > 0 else "right", "center") for x in (9, -9) for y in (9, -9))
PLACES = (*_BESIDE, *_ASKEW)
"""Where the name of a point may stand: points to the right and up of it, and how it is aligned there."""


@dataclass(frozen=True)
class Mark:
    """One model in a figure.

    Attributes:
        index: 0 is the baseline, then the methods in the order of the table.
        label: its name.
        tokens, accuracy: where it stands.
        entry: of the report; None for a part of the problems, which has neither intervals nor seeds.
    """

    index: int
    label: str
    tokens: float
    accuracy: float
    entry: Mapping[str, Any] | None = None

    @property
    def gid(self) -> str:
        """Return the id that it has in the SVG, until the page turns it into an attribute."""
        return f"method-{self.index}"


def marks_of(report: Report) -> list[Mark]:
    """Find the models that have an accuracy."""
    return [
        Mark(i, entry["label"], entry["tokens"], entry["accuracy"], entry)
        for i, entry in text.numbered_entries(report)
        if entry["accuracy"] is not None
    ]


def difficulties(report: Report) -> list[int | float | str]:
    """List those that have a panel of their own; none where there is one alone, or too many for panels."""
    found = [group["difficulty"] for group in report["model"]["by_difficulty"]] if marks_of(report) else []
    return found if 1 < len(found) <= MAX_DIFFICULTIES else []


def marks_at(report: Report, difficulty: int | float | str) -> list[Mark]:
    """Place the models on the problems of one difficulty."""
    found = []
    for mark in marks_of(report):
        assert mark.entry
        group = next(group for group in mark.entry["by_difficulty"] if group["difficulty"] == difficulty)
        if group["accuracy"] is not None:
            found.append(Mark(mark.index, mark.label, group["tokens"], group["accuracy"]))
    return found


def draw_pareto(report: Report) -> dict[str, Figure]:
    """Draw accuracy against tokens, with the front; and the short end by itself, where the others leave it no room."""
    marks = marks_of(report)
    if not marks:
        return {}
    near = near_the_front(marks)
    with matplotlib.rc_context(STYLE):
        figures = {"pareto": _pareto(marks, report["oracle_tokens"], named=_apart_or_first(marks, near))}
        if near:
            figures["near_the_front"] = _near(near, report["oracle_tokens"])
    return figures


def near_the_front(marks: Sequence[Mark]) -> list[Mark]:
    """Find three models or more that are crowded at the short end; none where all are there, or nearly none."""
    most = NEAR * min(mark.tokens for mark in marks)
    near = [mark for mark in marks if mark.tokens <= most]
    return near if 2 < len(near) < len(marks) else []


def _apart_or_first(marks: Sequence[Mark], near: Sequence[Mark]) -> list[Mark]:
    """Choose whose names the whole figure has: those on the front, and those that the other figure does not show."""
    front = front_of(marks)
    return [*front, *(mark for mark in marks if mark not in near and mark not in front)]


def front_of(marks: Sequence[Mark]) -> list[Mark]:
    """Find the marks on the Pareto front."""
    front_M = on_front(np.array([mark.tokens for mark in marks]), np.array([mark.accuracy for mark in marks]))
    return [mark for mark, is_on in zip(marks, front_M, strict=True) if is_on]


def _pareto(marks: Sequence[Mark], oracle: float | None, named: Sequence[Mark]) -> Figure:
    figure, axes = _whole(marks)
    axes.set_xlim(0, 1.1 * max(*_token_ends(marks), oracle or 0))
    _finish(axes, marks, oracle, named)
    return figure


def _near(marks: Sequence[Mark], oracle: float | None) -> Figure:
    """Draw some of the models, on a scale of tokens that has these alone."""
    figure, axes = _whole(marks)
    low, high = min(_token_ends(marks)), max(_token_ends(marks))
    axes.set_xlim(low - 0.08 * (high - low), high + 0.2 * (high - low))
    _finish(axes, marks, oracle, marks)
    return figure


def _whole(marks: Sequence[Mark]) -> tuple[Figure, Axes]:
    figure, axes = _new((5.6, 3.7))
    draw_marks(axes, marks)
    limit_accuracy(axes, [mark.entry for mark in marks if mark.entry])
    return figure, axes


def _token_ends(marks: Sequence[Mark]) -> list[float]:
    """List the ends of the intervals of tokens, and the values: all that has to be in sight."""
    entries = [mark.entry for mark in marks if mark.entry]
    return [end for entry in entries for end in (*(entry["tokens_ci95"] or ()), entry["tokens"] * 0.99)]


def draw_difficulties(report: Report) -> dict[str, Figure]:
    """Draw for each difficulty a small figure of all models, on the same axes."""
    with matplotlib.rc_context(STYLE):
        figures = {}
        for difficulty in difficulties(report):
            figure, axes = _new(_PANEL)
            _panel(axes, report, difficulty)
            figures[str(difficulty)] = figure
    return figures


def draw_panels(report: Report) -> Figure | None:
    """Draw the figures of all difficulties in one, for a paper or a README; None where there are none."""
    groups = difficulties(report)
    if not groups:
        return None
    columns = 2 if len(groups) in (2, 4) else 3
    rows = -(-len(groups) // columns)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(columns * _PANEL[0], rows * _PANEL[1]), layout="constrained")
        for place, difficulty in enumerate(groups, start=1):
            axes = figure.add_subplot(rows, columns, place, xlabel="mean tokens", ylabel="accuracy")
            axes.set_title(f"difficulty {difficulty}", loc="left", fontsize=9.5, color=INK)
            _panel(axes, report, difficulty)
    return figure


def _panel(axes: Axes, report: Report, difficulty: int | float | str) -> None:
    every = [mark for group in difficulties(report) for mark in marks_at(report, group)]
    marks = marks_at(report, difficulty)
    draw_marks(axes, marks, size=6)
    low = min(mark.accuracy for mark in every)
    axes.set_ylim(max(-0.02, low - 0.08), 1.03)
    axes.set_xlim(0, 1.1 * max(mark.tokens for mark in every))
    _finish(axes, marks, None, marks if len(marks) <= FEW else front_of(marks))


def _new(size: tuple[float, float]) -> tuple[Figure, Axes]:
    figure = Figure(figsize=size, layout="constrained")
    return figure, figure.add_subplot(xlabel="mean tokens per answer", ylabel="accuracy")


def draw_marks(axes: Axes, marks: Sequence[Mark], size: float = 7) -> None:
    """Draw every model as a cross of its two intervals, its training seeds as faint points; the front as a line."""
    front = front_of(marks)
    for mark in marks:
        look: Any = {"color": color(mark.index), "marker": MARKERS[color_index(mark.index)], "linestyle": "none"}
        if mark.entry:
            _draw_arms(axes, mark)
            seeds = [(s["tokens"], s["accuracy"]) for s in mark.entry["seeds"] if s["accuracy"] is not None]
            for tokens, accuracy in seeds if len(seeds) > 1 else ():
                axes.plot(tokens, accuracy, markersize=4, alpha=0.4, gid=mark.gid, **look)
        edge = INK if mark in front else PAPER
        axes.plot(mark.tokens, mark.accuracy, markersize=size, markeredgecolor=edge, gid=mark.gid, zorder=4, **look)
    _draw_front(axes, front)


def _draw_arms(axes: Axes, mark: Mark) -> None:
    assert mark.entry
    xerr, yerr = (distances(mark.entry[name], mark.entry[f"{name}_ci95"]) for name in ("tokens", "accuracy"))
    bars = axes.errorbar(
        mark.tokens,
        mark.accuracy,
        xerr=xerr,
        yerr=yerr,
        fmt="none",
        elinewidth=1.4,
        alpha=0.55,
        color=color(mark.index),
    )
    for lines in bars[2]:
        lines.set_gid(mark.gid)


def _draw_front(axes: Axes, front: Sequence[Mark]) -> None:
    """Draw a step for each model on the front: what it is worth to allow more tokens."""
    if not front:
        return
    ordered = sorted(front, key=lambda mark: (mark.tokens, mark.accuracy))
    x, y = [mark.tokens for mark in ordered], [mark.accuracy for mark in ordered]
    axes.step([*x, 10 * max(x)], [*y, y[-1]], where="post", color=INK, linewidth=1.1, alpha=0.5, zorder=1)


def _finish(axes: Axes, marks: Sequence[Mark], oracle: float | None, named: Sequence[Mark]) -> None:
    low, high = axes.get_xlim()
    if oracle and low < oracle < high:
        axes.axvline(oracle, **AID)
        axes.annotate("oracle", (oracle, 0.02), xycoords=("data", "axes fraction"), xytext=(-3, 0),
                      textcoords="offset points", ha="right", fontsize=8, color=MUTED)  # fmt: skip
    axes.set_xlim(low, high)
    axes.yaxis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 5, 10]))
    low, high = axes.get_ylim()
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0 if high - low > FINE else 1))
    front = front_of(marks)
    write_names(axes, marks, [*(m for m in named if m in front), *(m for m in named if m not in front)])


def write_names(axes: Axes, marks: Sequence[Mark], named: Sequence[Mark]) -> None:
    """Write names beside points, the first ones first; a name that would cover a point or another name is left out."""
    figure = axes.get_figure(root=True)
    assert figure is not None
    figure.draw_without_rendering()
    inside = axes.get_window_extent()
    radius = 4 * figure.dpi / 72
    centres = axes.transData.transform([(mark.tokens, mark.accuracy) for mark in marks])
    taken = [Bbox([[x - radius, y - radius], [x + radius, y + radius]]) for x, y in centres]
    for mark in named:
        taken += _write_name(axes, mark, taken, inside)


def _write_name(axes: Axes, mark: Mark, taken: Sequence[Bbox], inside: Bbox) -> list[Bbox]:
    for x, y, ha, va in PLACES:
        name = axes.annotate(
            mark.label, (mark.tokens, mark.accuracy), xytext=(x, y), textcoords="offset points", ha=ha, va=va,
            fontsize=8.5, color=INK, gid=mark.gid, zorder=5, bbox=_BEHIND,
        )  # fmt: skip
        box = name.get_window_extent()
        if inside.contains(*box.min) and inside.contains(*box.max) and not box.count_overlaps(taken):
            return [box]
        name.remove()
    return []


def page_svg(figure: Figure, name: str, labels: Mapping[int, str]) -> str:
    """Write the figure for the page: each model's parts know their model, and show its name under the pointer.

    Args:
        figure: of marks.
        name: of the figure.
        labels: what is said of each model, by the index of its marks.
    """

    def known(found: re.Match[str]) -> str:
        index = int(found[1])
        return f'<g data-method="{index}"><title>{escape(labels[index])}</title>'

    return re.sub(r'<g id="method-(\d+)">', known, svg(figure, name))
