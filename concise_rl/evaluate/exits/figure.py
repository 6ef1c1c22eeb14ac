"""The figure of exit policies: curves of accuracy against decoded tokens, the bound, and trained models as points."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from concise_rl.evaluate.plots import INK, MARKERS, MUTED, PAPER, STYLE, distances
from concise_rl.evaluate.plots import color as color_of

Report = Mapping[str, Any]
_SIZE = (7.2, 4.6)
_ORACLE, _FULL = "oracle stop", "full samples"


def draw_exits(report: Report) -> Figure:
    """Draw every curve, its own default as a large mark; the oracle, the full samples and the labels as points."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=_SIZE, layout="constrained")
        axes = figure.add_subplot(xlabel="mean tokens decoded per answer, probes included", ylabel="accuracy")
        for index, curve in enumerate(report["curves"], start=1):
            _draw_curve(axes, index, curve)
        for index, label in enumerate(report["labels"]):
            _draw_label(axes, index, label)
        for name, point, mark in ((_ORACLE, report["oracle"], "*"), (_FULL, report["full"], "o")):
            if point["accuracy"] is not None:
                look: Any = {"color": INK, "markeredgecolor": PAPER, "markersize": 12 if mark == "*" else 8}
                axes.plot(point["spent"], point["accuracy"], mark, label=name, zorder=6, linestyle="none", **look)
        _limit(axes, report)
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=8, handlelength=1.6)
    return figure


def shown_points(report: Report) -> list[Mapping[str, Any]]:
    """List every point that the figure has."""
    curves = [point for curve in report["curves"] for point in curve["points"]]
    return [
        one for one in (report["full"], report["oracle"], *curves, *report["labels"]) if one["accuracy"] is not None
    ]


def _draw_curve(axes: Axes, index: int, curve: Mapping[str, Any]) -> None:
    """Draw the points of a policy in the order of its dial; a dashed line where the colours begin again."""
    points = [point for point in curve["points"] if point["accuracy"] is not None]
    if not points:
        return
    style = "-" if index <= 6 else (0, (4, 2))
    look: Any = {"color": color_of(index), "marker": MARKERS[index % len(MARKERS)], "markeredgecolor": PAPER}
    x, y = [one["spent"] for one in points], [one["accuracy"] for one in points]
    axes.plot(x, y, linestyle=style, linewidth=1.4, markersize=4, label=curve["name"], zorder=3, **look)
    for own in [one for one in points if one["default"]]:
        axes.plot(own["spent"], own["accuracy"], markersize=9, linestyle="none", zorder=5, **look)


def _draw_label(axes: Axes, index: int, label: Mapping[str, Any]) -> None:
    """Draw another model of the folder as a cross of its intervals, named beside it."""
    if label["accuracy"] is None:
        return
    arms = {
        "xerr": distances(label["tokens"], label["tokens_ci95"]),
        "yerr": distances(label["accuracy"], label["accuracy_ci95"]),
    }
    marker = "DPXvd"[index % 5]
    look: Any = {"fmt": marker, "color": MUTED, "markeredgecolor": INK, "markersize": 7, "elinewidth": 1.2}
    axes.errorbar(label["spent"], label["accuracy"], label=label["name"], zorder=5, **look, **arms)


def _limit(axes: Axes, report: Report) -> None:
    """Keep every point in sight, and at least ten points of accuracy."""
    points: Sequence[Mapping[str, Any]] = shown_points(report)
    if points:
        low, high = min(one["accuracy"] for one in points), max(one["accuracy"] for one in points)
        middle, half = (low + high) / 2, max(0.05, 0.56 * (high - low))
        axes.set_ylim(max(-0.02, middle - half), min(1.03, middle + half))
        axes.set_xlim(0, 1.05 * max(one["spent"] for one in points))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=7, steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
