"""Write the figures of `concise_rl.evaluate.measures`: for report.json, the terminal and the page."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from concise_rl.evaluate import statistics, text
from concise_rl.evaluate.evaluation import Evaluation, Label
from concise_rl.evaluate.frontier import Frontier
from concise_rl.evaluate.measures import Measure, Measures, all_measures, estimates
from concise_rl.evaluate.statistics import pool

Write = Callable[[float | None], str]


@dataclass(frozen=True)
class Meaning:
    """How a figure is shown.

    Attributes:
        title: of its row; of a curve, what stands before the place.
        meaning: one line.
        write: writes its value.
        write_end: writes an end of its interval.
    """

    title: str
    meaning: str
    write: Write
    write_end: Callable[[float], str]


def _share(title: str, meaning: str) -> Meaning:
    return Meaning(title, meaning, text.percent, text.bare_percent)


def _tokens(title: str, meaning: str) -> Meaning:
    return Meaning(title, meaning, text.tokens, text.tokens)


def _ratio(title: str, meaning: str) -> Meaning:
    return Meaning(title, meaning, text.ratio, text.ratio)


MEANINGS: Mapping[str, Meaning] = {
    "accuracy_within": _share(
        "right within", "Right, and ended within so many tokens; nothing is forced at the budget."
    ),
    "budget_area": _share("area within the cap", "Accuracy within a budget, averaged over all budgets up to the cap."),
    "efficiency_gap": _tokens("REG", "The given frontier minus accuracy within a budget, summed over all budgets."),
    "oaa": _share("OAA", "Right with fewer thinking tokens than that (OptimalThinkingBench)."),
    "oaa_area": _share("OAA area", "OAA averaged over all limits up to 1,000 thinking tokens."),
    "pass_at": _share("pass@", "Chance that one of k samples is right, unbiased."),
    "majority_at": _share(
        "majority@", "What most of k samples answer, by value; a tie by the share of it that is right."
    ),
    "tokens_right": _tokens("tokens of right", "Mean tokens of right samples."),
    "tokens_wrong": _tokens("tokens of wrong", "Mean tokens of wrong samples, truncated ones included."),
    "ended_thinking": _share("ended in thinking", "Samples that ended by themselves inside the thinking."),
    "stopped_short": _share(
        "stopped short", "Wrong, and stopped with fewer tokens than the shortest sufficient completion."
    ),
    "missing_tokens": _tokens("missing tokens", "Tokens that wrong samples have fewer than that; 0 where enough."),
    "outcome_efficiency": _share(
        "outcome efficiency", "Share of the tokens up to the first right answer; wrong samples count 0."
    ),
    "token_efficiency": _share(
        "token efficiency", "Share of the thinking up to the first right answer, by EvalScope; wrong samples count 0."
    ),
    "process_efficiency": _share(
        "process efficiency", "Share of the text in lines whose numbers, in their order, no earlier line has."
    ),
    "hard_over_easy": _ratio("hard over easy", "Tokens on problems harder than the median over tokens on the others."),
    "compression_macro": _share("compression, macro", "Tokens over the baseline's, averaged over problems."),
    "compression_pooled": _share("compression, pooled", "All tokens over all of the baseline's."),
}
"""Every figure that a report may hold, in the order in which they are shown."""


def describe_figures(label: Label, baseline: Label | None, cap: int, frontier: Frontier | None) -> dict[str, Any]:
    """Return what `report.json` holds of a label's figures: by name, {value, ci95}, and for curves a list of {at,
    value, ci95}.

    Args:
        label: whose samples they are of.
        baseline: what it is compared with; None where there is none, or it is the label itself.
        cap: tokens that one of what is counted may have, see `cap_of`.
        frontier: the best accuracy known at each budget, if any was given.
    """
    compared = None if baseline is None or baseline is label else baseline.table
    measures = all_measures(label.table, pool(label.drawn), compared, cap, frontier)
    places, runs = _places(measures), _of_runs(label, compared, cap, frontier)
    evaluated = estimates(list(_flat(measures)), [[run.get(place) for place in places] for run in runs])
    found = {place: asdict(one) for place, one in zip(places, evaluated, strict=True)}
    return {
        name: found[name, None] if isinstance(measure, Measure) else [{"at": at, **found[name, at]} for at in measure]
        for name, measure in measures.items()
    }


def _of_runs(
    label: Label, compared: statistics.Table | None, cap: int, frontier: Frontier | None
) -> list[dict[tuple[str, int | None], Measure]]:
    """Return the measures of each run by their places; none of a single one, which has no other to differ from."""
    if len(label.runs) == 1:
        return []
    pairs = zip(label.tables, label.drawn, strict=True)
    every = [all_measures(table, drawn, compared, cap, frontier) for table, drawn in pairs]
    return [dict(zip(_places(measures), _flat(measures), strict=True)) for measures in every]


def cap_of(evaluation: Evaluation) -> int:
    """Return the tokens that one of what is counted may have: the cap, or that of all samples that answer a question
    together. Where samples were imported without a cap, the longest of them has it."""
    measurement, labels = evaluation.manifest.measurement, [label for _, label in evaluation.numbered]
    if measurement.max_tokens is None:
        return int(max(label.table.length_PK.max() for label in labels))
    return measurement.max_tokens * (measurement.samples if measurement.keep_shortest else 1)


def _places(measures: Measures) -> list[tuple[str, int | None]]:
    """Return (name, place on the curve) of each measure, None for no curve."""
    return [(name, at) for name, m in measures.items() for at in ([None] if isinstance(m, Measure) else list(m))]


def _flat(measures: Measures) -> list[Measure]:
    return [one for m in measures.values() for one in ([m] if isinstance(m, Measure) else m.values())]


@dataclass(frozen=True)
class Row:
    """One figure of all labels: its title, and for each label its value and interval, written; empty where unknown."""

    title: str
    cells: list[tuple[str, str]]


def figure_rows(entries: Sequence[Mapping[str, Any]]) -> list[Row]:
    """Return the figures that are known of any label."""
    rows = [Row(title, [_cell(e["figures"], name, at) for e in entries]) for name, at, title in _titles(entries)]
    return [row for row in rows if any(value != text.NONE for value, _ in row.cells)]


def _titles(entries: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, int | None, str]]:
    """Yield (name, place, title) of every row; several training seeds make the places of labels differ."""
    for name, meaning in MEANINGS.items():
        found = [e["figures"][name] for e in entries if name in e["figures"]]
        if any(isinstance(one, list) for one in found):
            for at in sorted({point["at"] for one in found for point in one}):
                yield name, at, f"{meaning.title}{'' if meaning.title.endswith('@') else ' '}{at:,}"
        elif found:
            yield name, None, meaning.title


def _cell(figures: Mapping[str, Any], name: str, at: int | None) -> tuple[str, str]:
    found = figures.get(name)
    if isinstance(found, list):
        found = next((point for point in found if point["at"] == at), None)
    if found is None:
        return text.NONE, ""
    return MEANINGS[name].write(found["value"]), text.between(found["ci95"], MEANINGS[name].write_end)


def known_meanings(entries: Sequence[Mapping[str, Any]]) -> list[Meaning]:
    """Return the meanings of the figures that are shown."""
    shown = {row.title for row in figure_rows(entries)}
    return [MEANINGS[name] for name in MEANINGS if any(t in shown for n, _, t in _titles(entries) if n == name)]


def figures_table(report: Mapping[str, Any]) -> Group:
    """Return the figures as a table, one column for each label, with the meanings below."""
    entries = text.all_entries(report)
    table = Table(box=box.SIMPLE_HEAD, padding=0, title="Figures from the stored samples", title_style="bold")
    table.add_column("figure", no_wrap=True)
    for entry in entries:
        table.add_column(entry["label"], justify="right", overflow="fold")
    for row in figure_rows(entries):
        table.add_row(row.title, *(Text(value).append(f" {ci}", style="dim") for value, ci in row.cells))
    meanings = "\n".join(f"{meaning.title.rstrip('@')}: {meaning.meaning}" for meaning in known_meanings(entries))
    return Group(table, Text(meanings, style="dim"))
