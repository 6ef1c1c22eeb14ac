"""The figures of a report, as SVG that follows the page's light or dark colours, and as PNG.

Figures are made without pyplot: no global state, and no display is looked for.
"""

import io
import re
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from concise_rl.evaluate.evaluation import Evaluation
from concise_rl.evaluate.text import numbered_entries
from concise_rl.output.pages import palette
from concise_rl.output.pages.palette import color_index

# Drawn for light paper; `svg` puts the page's variables in the place of these.
INK, MUTED, GRID, PAPER = (shade.light for shade in (palette.INK, palette.MUTED, palette.GRID, palette.PAPER))
SERIES = tuple(shade.light for shade in palette.SERIES)
MARKERS = "osD^vPX"
STYLE: Any = {
    "font.size": 9.5,
    "font.family": "DejaVu Sans",
    "svg.fonttype": "none",
    "text.color": INK,
    "axes.labelcolor": MUTED,
    "axes.edgecolor": GRID,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "xtick.color": GRID,
    "ytick.color": GRID,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "ytick.major.size": 0,
    "legend.frameon": False,
}
AID: Any = {"color": MUTED, "linestyle": (0, (4, 3)), "linewidth": 1.2, "zorder": 2}
"""Lines for orientation, which are no label's data."""
_SIZE = (5.6, 3.7)
LEGEND_WIDTH = 66
"""Characters that fit into a row of a legend, 5 of them for each entry's mark."""
MAX_DIFFICULTIES = 16
"""More of them make no readable axis; `report.json` has them all."""
Method = Mapping[str, Any]


def color(index: int) -> str:
    """Return the colour of a label."""
    return SERIES[color_index(index)]


def draw_figures(report: Method, evaluation: Evaluation) -> dict[str, Figure]:
    """Draw every figure that the samples allow, by name."""
    entries = numbered_entries(report)
    tables = [(i, label.name, label.table) for i, label in evaluation.numbered]
    figures = {}
    with matplotlib.rc_context(STYLE):
        if any(entry["accuracy"] is not None for _, entry in entries):
            graded = [(i, entry) for i, entry in entries if entry["accuracy"] is not None]
            figures["accuracy_against_tokens"] = accuracy_against_tokens(graded, report["oracle_tokens"])
        lengths = [(i, name, table.length_PK.ravel()) for i, name, table in tables]
        measurement = evaluation.manifest.measurement
        if measurement.keep_shortest is None:
            figures["length_distributions"] = length_distributions(lengths, measurement.max_tokens, "completion")
        else:
            most = measurement.max_tokens * measurement.samples
            figures["tokens_of_questions"] = length_distributions(lengths, most, "question")
        if 1 < len(report["model"]["by_difficulty"]) <= MAX_DIFFICULTIES:
            figures["tokens_by_difficulty"] = by_difficulty(entries, "tokens", "mean tokens per answer")
            figures["accuracy_by_difficulty"] = by_difficulty(entries, "accuracy", "accuracy")
    return figures


def new_axes(xlabel: str, ylabel: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=_SIZE, layout="constrained")
    axes = figure.add_subplot(xlabel=xlabel, ylabel=ylabel)
    return figure, axes


def draw_legend(axes: Axes, labels: Sequence[str]) -> None:
    """Draw the legend above the axes, where it covers no data: `labels` in their order, then lines for orientation, row
    by row."""
    order = [*labels, *(label for label in axes.get_legend_handles_labels()[1] if label not in labels)]
    entries = sorted(zip(*axes.get_legend_handles_labels(), strict=True), key=lambda entry: order.index(entry[1]))
    longest = max(len(label) for _, label in entries)
    columns = max(1, min(4, len(entries), LEGEND_WIDTH // (longest + 5)))  # a wider one would narrow the axes
    by_row = [entry for column in range(columns) for entry in entries[column::columns]]  # matplotlib fills columns
    axes.legend(
        [handle for handle, _ in by_row],
        [label for _, label in by_row],
        loc="lower left",
        bbox_to_anchor=(0, 1.0),
        ncols=columns,
        borderaxespad=0.2,
        handletextpad=0.4,
        columnspacing=1.2,
    )


def distances(value: float, interval: Sequence[float] | None) -> np.ndarray:
    """Return error bars as matplotlib takes them: (2, 1), below and above."""
    low, high = interval or (value, value)
    return np.array([[max(0.0, value - low)], [max(0.0, high - value)]])


def accuracy_against_tokens(methods: Sequence[tuple[int, Method]], oracle_tokens: float | None) -> Figure:
    """Draw every label as a cross of its two intervals; single training seeds as faint points.

    Args:
        methods: (colour, entry of the report) of each label with an accuracy.
        oracle_tokens: a vertical line, where known.
    """
    figure, axes = new_axes("mean tokens per answer", "accuracy")
    for index, method in methods:
        x, y = method["tokens"], method["accuracy"]
        marker = MARKERS[index % len(MARKERS)]
        axes.errorbar(
            x,
            y,
            xerr=distances(x, method["tokens_ci95"]),
            yerr=distances(y, method["accuracy_ci95"]),
            fmt=marker,
            markersize=7,
            markeredgecolor=PAPER,
            elinewidth=1.8,
            label=method["label"],
            color=color(index),
            zorder=3,
        )
        seeds = [seed for seed in method["seeds"] if seed["accuracy"] is not None] if len(method["seeds"]) > 1 else []
        axes.plot(
            [s["tokens"] for s in seeds], [s["accuracy"] for s in seeds], marker, color=color(index), ms=4, alpha=0.4
        )
    limit_accuracy(axes, [method for _, method in methods])
    axes.set_xlim(0, 1.08 * max(*_ends("tokens", [method for _, method in methods]), oracle_tokens or 0))
    if oracle_tokens:
        axes.axvline(
            oracle_tokens, color=MUTED, linestyle=(0, (4, 3)), linewidth=1.2, label=f"oracle, {oracle_tokens:.1f}"
        )
    axes.yaxis.set_major_locator(MaxNLocator(nbins=7, steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    draw_legend(axes, [method["label"] for _, method in methods])
    return figure


def _ends(key: str, methods: Sequence[Method]) -> list[float]:
    """Return the ends of all intervals of `tokens` or `accuracy`, and the values: all that has to be in sight."""
    values = [entry[key] for m in methods for entry in (m, *m["seeds"]) if entry[key] is not None]
    return values + [end for m in methods for end in m[f"{key}_ci95"] or ()]


def limit_accuracy(axes: Axes, methods: Sequence[Method]) -> None:
    """Keep at least ten points of accuracy in sight: a smaller range makes noise look like an effect."""
    ends = _ends("accuracy", methods)
    middle, half = (min(ends) + max(ends)) / 2, max(0.05, 0.65 * (max(ends) - min(ends)))
    axes.set_ylim(max(-0.02, middle - half), min(1.02, middle + half))


def length_distributions(lengths: Sequence[tuple[int, str, np.ndarray]], max_tokens: int | None, unit: str) -> Figure:
    """Draw how long completions are, before and after: (colour, label, tokens of all units) of each label.

    The cap, where it is known and was reached, is a line.
    """
    figure, axes = new_axes(f"tokens of a {unit}", f"share of {unit}s")
    longest = max(values.max() for *_, values in lengths)
    edges = np.linspace(0, longest, 41) if longest > 40 else np.arange(0, longest + 2)
    for index, label, values in lengths:
        heights = np.histogram(values, edges)[0] / values.size
        if index <= 1:  # more than two filled areas hide each other
            axes.stairs(heights, edges, fill=True, color=color(index), alpha=0.22, linewidth=0)
        axes.stairs(heights, edges, color=color(index), linewidth=1.6, label=label)
    if max_tokens is not None and longest >= max_tokens:
        axes.axvline(max_tokens, label=f"cap, {max_tokens}", **AID)
    axes.set_xlim(0, longest * 1.01)
    axes.set_ylim(0)
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    draw_legend(axes, [label for _, label, _ in lengths])
    return figure


def by_difficulty(methods: Sequence[tuple[int, Method]], key: str, ylabel: str) -> Figure:
    """Draw `tokens` or `accuracy` at each difficulty; beside the tokens the oracle's, where known."""
    figure, axes = new_axes("difficulty of the problem", ylabel)
    for index, method in methods:
        values = [np.nan if group[key] is None else group[key] for group in method["by_difficulty"]]
        marker = MARKERS[index % len(MARKERS)]
        look: Any = {"color": color(index), "markeredgecolor": PAPER, "markersize": 7, "linewidth": 1.8}
        axes.plot(range(len(values)), values, marker=marker, label=method["label"], **look)
    groups = methods[0][1]["by_difficulty"]
    axes.set_xticks(range(len(groups)), [str(group["difficulty"]) for group in groups])
    oracle = [group["oracle_tokens"] for group in groups]
    if key == "tokens" and all(oracle):
        axes.plot(range(len(groups)), oracle, label="oracle", **AID)
    if key == "accuracy":
        axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        axes.set_ylim(0, 1.02)
    else:
        axes.set_ylim(0)
    axes.grid(axis="x", visible=False)
    draw_legend(axes, [method["label"] for _, method in methods])
    return figure


def png(figure: Figure) -> bytes:
    """Write the figure on white, 200 dots an inch."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=200, facecolor="white", metadata={"Software": None})
    return buffer.getvalue()


def svg(figure: Figure, name: str) -> str:
    """Write the figure as an `<svg>` element in the page's colours.

    The page defines `--ink`, `--muted`, `--grid`, `--paper` and `--series-0` and so on.
    """
    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": name, "svg.fonttype": "none"}):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    # Ids that nothing refers to, and that several figures on one page would share.
    text = re.sub(r' id="[A-Za-z0-9.]+_\d+"', "", text)
    variables = {INK: "ink", MUTED: "muted", GRID: "grid", PAPER: "paper"}
    variables |= {shade: f"series-{i}" for i, shade in enumerate(SERIES)}
    for shade, variable in variables.items():
        text = text.replace(shade, f"var(--{variable})")
    return text
