"""The picture of a comparison's trainings: accuracy above, tokens below, a line for each method."""

from collections.abc import Mapping
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from concise_rl.evaluate import text
from concise_rl.evaluate.plots import STYLE, color, draw_legend
from concise_rl.output.pages.palette import SERIES

Report = Mapping[str, Any]
DASHES: Any = ("-", (0, (5, 2)), (0, (1.5, 1.5)), (0, (6, 2, 1.5, 2)))
"""Tell methods apart that have one colour."""
_SIZE = (6.6, 6.2)


def draw_training(report: Report) -> Figure | None:
    """Draw the mean over seeds of each method, and their range as a band; None where no training was logged."""
    described = {one["label"]: one for one in report["training"]}
    shown = [(i, described[e["label"]]) for i, e in text.numbered_entries(report) if e["label"] in described]
    if not shown:
        return None
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=_SIZE, layout="constrained")
        above, below = figure.subplots(2, sharex=True)
        for index, one in shown:
            _draw(above, index, one, "accuracy")
            _draw(below, index, one, "tokens")
        above.set_ylabel("accuracy of rollouts")
        above.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        below.set(ylabel="tokens of rollouts", xlabel="step", ylim=(0, None))
        below.xaxis.set_major_locator(MaxNLocator(integer=True))
        draw_legend(above, [one["label"] for _, one in shown])
    return figure


def _draw(axes: Axes, index: int, one: Mapping[str, Any], name: str) -> None:
    mean, gid = one["mean"], f"method-{index}"
    dashes = DASHES[(index - 1) // (len(SERIES) - 1) % len(DASHES)]
    axes.plot(mean["steps"], mean[name], color=color(index), linestyle=dashes, gid=gid, label=one["label"], zorder=3)
    if len(one["runs"]) > 1:
        every = np.stack([np.interp(mean["steps"], run["steps"], run[name]) for run in one["runs"]])
        band = axes.fill_between(mean["steps"], every.min(axis=0), every.max(axis=0), color=color(index), linewidth=0)
        band.set(alpha=0.13, gid=gid)
