"""The curves of a page, from what runs have logged. No metric that a run logs is missing from its page."""

from collections.abc import Sequence
from dataclasses import dataclass

from concise_rl.output.pages.curves import Panel, Series
from concise_rl.train.watch.run import Run
from concise_rl.train.watch.sections import BOOKKEEPING, COUNTERS, OF_THE_END, PARTS, SAME, SECTIONS, Lines, Section

MOST_POINTS = 1000
"""Of a curve. A longer run is drawn by means over stretches of steps."""
Table = dict[str, list[float | None]]
"""The values of each metric, step by step."""


def derive(run: Run) -> Table:
    """Return all metrics of a run by step, and those that follow from others: `answer` tokens, `update` seconds."""
    keys = dict.fromkeys(key for step in run.steps for key in step)
    values = {key: run.values(key) for key in keys}
    values = {key: of_key for key, of_key in values.items() if any(value is not None for value in of_key)}
    if {"length/mean", "length/think"} <= values.keys():
        values["answer"] = _less(values["length/mean"], [values["length/think"]])
    if "step_time" in values and "time/rollout" in values:
        values["update"] = _less(values["step_time"], [values[part] for part in PARTS if part in values])
    return values


def _less(whole: Sequence[float | None], parts: Sequence[Sequence[float | None]]) -> list[float | None]:
    """Return what parts leave of a whole, at least 0; None where the whole is not known."""
    sums = [sum(part[i] or 0.0 for part in parts) for i in range(len(whole))]
    return [None if all_ is None else max(all_ - taken, 0.0) for all_, taken in zip(whole, sums, strict=True)]


@dataclass(frozen=True)
class Drawn:
    """A section with its curves.

    Attributes:
        id, title, note: as in `Section`.
        panels: what is drawn.
        constant: metrics that never changed, which a curve would say nothing of, with their values.
    """

    id: str
    title: str
    note: str
    panels: list[Panel]
    constant: dict[str, float]


def draw(runs: Sequence[Run], names: Sequence[str]) -> list[Drawn]:
    """Draw the sections of a page; those without anything are left out. Of several runs each curve is drawn for each.

    Args:
        runs: read.
        names: of the runs, for the legends. With one run the metrics have names alone.
    """
    tables = [derive(run) for run in runs]
    steps = [[float(step["step"]) for step in run.steps] for run in runs]
    left, sections = _unnamed(tables), []
    for section in SECTIONS:
        own = [key for key in left if section.rest and key.startswith(section.rest)]
        left = [key for key in left if key not in own]
        lines = [*section.lines, *(alone(key) for key in own)]
        sections.append(_drawn(section, lines, tables, steps, names))
    return [section for section in sections if section.panels or section.constant]


def _drawn(
    section: Section,
    lines: Sequence[Lines],
    tables: Sequence[Table],
    steps: Sequence[Sequence[float]],
    names: Sequence[str],
) -> Drawn:
    panels, constant = [], dict[str, float]()
    for line in lines:
        keys = [key for key in line.keys if any(key in table for table in tables)]
        values = {key: {y for table in tables for y in table.get(key, ()) if y is not None} for key in keys}
        if any(len(of_key) > 1 for of_key in values.values()) or line.always:
            shown = [key for key in keys if not (line.dull and values[key] == {0.0})]
            panels += _panel(line, shown, tables, steps, names) if shown else []
        else:
            constant |= {key: min(of_key) for key, of_key in values.items()}
    return Drawn(section.id, section.title, section.note, panels, constant)


def _unnamed(tables: Sequence[Table]) -> list[str]:
    """Return the metrics that no pair of axes names, in the order in which they were logged."""
    named = {key for section in SECTIONS for lines in section.lines for key in lines.keys} | BOOKKEEPING | SAME
    found = dict.fromkeys(key for table in tables for key in table if key not in named)
    return [key for key in found if not key.startswith(COUNTERS) and not key.endswith(OF_THE_END)]


def alone(key: str) -> Lines:
    """Make a pair of axes for one metric of which nothing but the name is known."""
    prefix, _, name = key.partition("/")
    return Lines((name if prefix in ("objective", "curriculum") else key).replace("_", " "), {key: name or key})


def _panel(
    line: Lines, keys: Sequence[str], tables: Sequence[Table], steps: Sequence[Sequence[float]], names: Sequence[str]
) -> list[Panel]:
    """Make one pair of axes; of several runs, the first of its metrics alone."""
    alone = len(names) == 1
    series = [
        thin(Series(_label(line.keys[key], name, alone), steps[run], tables[run][key], 1 + (at if alone else run) % 6))
        for at, key in enumerate(keys if alone else keys[:1])
        for run, name in enumerate(names)
        if key in tables[run]
    ]
    stacked = line.stacked and alone
    return [Panel(line.title, series, line.note, line.format, line.low, line.high, stacked)] if series else []


def _label(metric: str, name: str, alone: bool) -> str:
    return metric if alone else f"{name}: {metric}"


def thin(series: Series, most: int = MOST_POINTS) -> Series:
    """Draw a long curve by the means over stretches of its steps, so many at most."""
    stretch = -(-len(series.x) // most)
    if stretch <= 1:
        return Series(series.label, series.x, [_short(y) for y in series.y], series.color)
    starts = range(0, len(series.x), stretch)
    means = [_mean(series.y[start : start + stretch]) for start in starts]
    return Series(series.label, [series.x[min(s + stretch, len(series.x)) - 1] for s in starts], means, series.color)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return _short(sum(known) / len(known)) if known else None


def _short(value: float | None) -> float | None:
    """Round to five digits: more would not be seen, and make the page larger."""
    return None if value is None else float(f"{value:.5g}")
