"""Numbers as people read them, the headline, and the terminal table."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

NONE = "-"
Entry = Mapping[str, Any]
Interval = Sequence[float] | None


def percent(value: float | None, digits: int = 1) -> str:
    """Write 0.642 as `64.2 %`."""
    return NONE if value is None else f"{100 * value:.{digits}f} %"


def points(value: float | None) -> str:
    """Write a difference of two shares in percentage points, with its sign: -0.012 as `-1.2`."""
    return NONE if value is None else f"{100 * value + 0.0:+.1f}"


def signed(value: float | None) -> str:
    """Write a difference of tokens, with its sign and one decimal."""
    return NONE if value is None else f"{value + 0.0:+,.1f}"


def tokens(value: float | None) -> str:
    """Write tokens, with one decimal below 1,000."""
    return NONE if value is None else f"{value:,.1f}" if value < 1000 else f"{value:,.0f}"


def ratio(value: float | None) -> str:
    """Write 3.14159 as `3.14x`."""
    return NONE if value is None else f"{value:.2f}x"


def score(value: float | None) -> str:
    """Write a number with its sign and two decimals."""
    return NONE if value is None else f"{value:+.2f}"


def bare_percent(value: float) -> str:
    """Write 0.642 as `64.2`, for intervals."""
    return f"{100 * value:.1f}"


def between(interval: Interval, write: Callable[[float], str] = bare_percent) -> str:
    """Write an interval by a writer of single numbers: `[62.1, 66.0]`."""
    return f"[{write(interval[0])}, {write(interval[1])}]" if interval else ""


def over(report: Mapping[str, Any]) -> str:
    """Say what intervals are taken over."""
    seeds = any(len(entry["seeds"]) > 1 for entry in all_entries(report))
    return "over problems and training seeds" if seeds else "over problems"


def voting(report: Mapping[str, Any]) -> str:
    """Say how several samples answer one question; empty where each sample counts by itself."""
    kept, samples = report["measurement"]["keep_shortest"], report["measurement"]["samples"]
    if kept is None:
        return ""
    voters = "the first to end gives the answer" if kept == 1 else f"the first {kept} to end vote on the answer"
    return (
        f"short-{kept}@{samples}: of {samples} samples, {voters}. Tokens are those of all {samples}, given up or not."
    )


def endings(report: Mapping[str, Any]) -> str:
    """Say how the samples of each label ended, where it was not by an EOS or the cap alone; else empty."""
    entries = all_entries(report)
    if {reason for entry in entries for reason in entry["stop_reasons"]} <= {"eos", "length"}:
        return ""
    parts = [
        f"{entry['label']} "
        + ", ".join(f"{r} {percent(n / entry['samples'])}" for r, n in entry["stop_reasons"].items())
        for entry in entries
    ]
    return f"How samples ended: {'; '.join(parts)}."


def all_entries(report: Mapping[str, Any]) -> list[Entry]:
    """Return what is said about each label, the baseline first."""
    return ([report["baseline"]] if report["baseline"] else []) + report["methods"]


def numbered_entries(report: Mapping[str, Any]) -> list[tuple[int, Entry]]:
    """Return the same with the numbers by which pages and figures colour them: 0 is the baseline."""
    return list(enumerate(all_entries(report), start=0 if report["baseline"] else 1))


def has_labels(report: Mapping[str, Any]) -> bool:
    """Say whether a judge has read the thinking of any correct sample."""
    return any(entry["overthinking"]["labelled"] for entry in all_entries(report))


def redundancy(report: Mapping[str, Any]) -> str:
    """Say what redundant tokens are, in a line; empty where nobody looked for them."""
    if not has_labels(report):
        return ""
    judge = report["measurement"]["judge"]
    return (
        "Redundant: thinking tokens after the passage that first states the answer, in correct samples that state it "
        f"(judge: {judge})."
    )


def targets(report: Mapping[str, Any]) -> str:
    """Say how well samples keep to the tokens their prompts ask for, in a line; empty where no prompt asks."""
    kept = [
        f"{entry['label']} misses it by {tokens(entry['target']['missed_by']['value'])} tokens, "
        f"{percent(entry['target']['within']['value'])} are within"
        for entry in all_entries(report)
        if entry["target"]
    ]
    return f"Target in the prompt: {'; '.join(kept)}." if kept else ""


def costs(report: Mapping[str, Any]) -> str:
    """Say what exits spend on looks, in a line; empty where none looks at anything."""
    spent = [
        f"{entry['label']} {tokens(cost['probes']['value'])} times a sample, {tokens(cost['decoded']['value'])} tokens "
        f"decoded beside {tokens(cost['text']['value'])} of text, {tokens(cost['prefilled_cached']['value'])} prefilled"
        for entry in all_entries(report)
        if (cost := entry["cost"])
    ]
    return f"Looks into the thinking, with a prefix cache: {'; '.join(spent)}." if spent else ""


def unclosed(report: Mapping[str, Any]) -> str:
    """Say what unclosed samples are, in a line; empty where there are none."""
    if not any(entry["ended_thinking"] for entry in all_entries(report)):
        return ""
    return "Unclosed: samples that ended inside the thinking."


def headline(report: Mapping[str, Any]) -> str:
    """Return the one sentence that a reader takes away."""
    model, savings, change = report["model"], report["token_savings"], report["accuracy_change"]
    if savings is None:
        spent = f"{tokens(model['tokens'])} tokens" + (" a question" if report["unit"] != "sample" else "")
        return f"{model['label']} answers {percent(model['accuracy'])} correctly with {spent}."
    saved = abs(savings["value"])
    direction = "fewer" if savings["value"] >= 0 else "more"
    return f"{model['label']} uses {percent(saved)} {direction} tokens; {_accuracy_clause(change)}."


def _accuracy_clause(change: Entry) -> str:
    """Say what can be said of accuracy: the interval decides whether it changed, not the point estimate."""
    value, interval = change["value"], change["ci95"]
    if value is None or interval is None:
        return "its accuracy could not be compared" if value is None else f"accuracy changes by {points(value)} points"
    size = f"{abs(100 * value):.1f} points"
    if interval[0] > 0:
        return f"its accuracy is {size} higher"
    if interval[1] < 0:
        return f"its accuracy is {size} lower"
    return f"its accuracy is unchanged within the noise ({points(interval[0])} to {points(interval[1])} points)"


def terminal_table(report: Mapping[str, Any]) -> Table:
    """Return the report as a table: one line for each label, with its 95 % intervals below the numbers."""
    measurement = report["measurement"]
    intervals = f"Brackets: 95 % intervals, {over(report)}, paired. Change of accuracy in points."
    notes = (intervals, *(write(report) for write in (redundancy, targets, costs, voting, endings, unclosed)))
    table = Table(
        box=box.SIMPLE_HEAD,
        padding=0,  # all columns fit 80 characters
        title=f"{measurement['task']}: {report['problems']} problems x {measurement['samples']} samples",
        caption="\n".join(filter(None, notes)),
        title_style="bold",
        caption_justify="left",
    )
    table.add_column("model", overflow="fold", min_width=12)
    tokens_column = "tokens\nredundant" if has_labels(report) else "tokens"
    for name in ("accuracy", tokens_column, "saved", "acc. change", "AES", "at cap\nunclosed", "oracle"):
        table.add_column(name, justify="right", no_wrap=True)
    for entry in all_entries(report):
        table.add_row(*_cells(entry))
        if len(entry["seeds"]) > 1:
            for number, seed in enumerate(entry["seeds"], start=1):
                table.add_row(*_cells({"label": f"  run {number}", **seed}, intervals=False), style="dim")
    return table


def _cells(entry: Entry, intervals: bool = True) -> list[Text]:
    saved, change = entry["token_savings"] or {}, entry["accuracy_change"] or {}
    lines = [_half_width(entry["accuracy_ci95"]), between(saved.get("ci95")), between(change.get("ci95"), points)]
    accuracy_line, saved_line, change_line = lines if intervals else ("", "", "")
    thinking = entry.get("overthinking")
    redundant = tokens(thinking["redundant_tokens"]["value"]) if thinking and thinking["labelled"] else ""
    return [
        Text(entry["label"]),
        _two_lines(percent(entry["accuracy"]), accuracy_line),
        _two_lines(tokens(entry["tokens"]), redundant),
        _two_lines(percent(saved.get("value")), saved_line),
        _two_lines(points(change.get("value")), change_line),
        Text(score(entry["aes"])),
        _two_lines(percent(entry["truncated"]), percent(entry["ended_thinking"])),
        Text(ratio(entry["oracle_ratio"])),
    ]


def _half_width(interval: Interval) -> str:
    return f"±{50 * (interval[1] - interval[0]):.1f}" if interval else ""


def _two_lines(value: str, below: str) -> Text:
    return Text(value).append(f"\n{below}", style="dim") if below else Text(value)
