"""A run in the terminal: how far it is, how its numbers move, and what it warns of."""

from collections.abc import Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from concise_rl.output.lines import in_words
from concise_rl.train.watch.run import Run, Status, status
from concise_rl.train.watch.summary import Change, changes, progress, title, warning_text

BARS = "▁▂▃▄▅▆▇█"
WIDTH = 32
"""Characters of a sparkline."""
BAR = 24
"""Characters of the bar of steps."""
SHOWN_WARNINGS = 3
COLORS = {
    "running": "cyan",
    "finished": "green",
    "failed": "red",
    "died": "red",
    "silent": "yellow",
    "stopped": "yellow",
}
VERDICTS = {
    "groups/all_correct": ("all right", "green"),
    "groups/mixed": ("mixed", "blue"),
    "groups/all_wrong": ("all wrong", "red"),
}
SECONDS = {
    "time/rollout": "rollouts",
    "time/verify": "verifier",
    "time/label": "judge",
    "time/sync": "weights to the engine",
}


def screen(runs: Sequence[Run], names: Sequence[str], now: float) -> RenderableType:
    """Say what the terminal shows of one run or several."""
    return Group(*(part for run, name in zip(runs, names, strict=True) for part in _of_run(run, name, now)))


def _of_run(run: Run, name: str, now: float) -> list[RenderableType]:
    state = status(run, now)
    heading = Text.assemble((name, "bold"), "  ", title(run), "  ", (state.word, f"bold {COLORS[state.word]}"))
    parts: list[RenderableType] = [heading, Text(state.why, "dim"), progress_line(run, state.word)]
    parts += [numbers_table(changes(run))] if run.steps else [Text("Nothing has been logged yet.")]
    return [*parts, further_lines(run), *warning_lines(run), Text()]


def progress_line(run: Run, word: str) -> RenderableType:
    """Say how far the run is, with a bar where its end is known."""
    if not run.max_steps:
        return Text(progress(run, word))
    line = Table.grid(padding=(0, 2, 0, 0))
    line.add_row(ProgressBar(total=run.max_steps, completed=run.step, width=BAR), progress(run, word))
    return line


def further_lines(run: Run) -> Table:
    """Say what the latest batch's groups were, and where the time goes."""
    table = Table.grid(padding=(0, 2, 0, 0))
    for label, said in (("groups", verdicts(run)), ("seconds", seconds(run)), ("ended", stops(run))):
        if said:
            table.add_row(Text(label, "dim"), said)
    return table


def numbers_table(found: Sequence[Change]) -> Table:
    """Show each number with its curve, its beginning and its end."""
    table = Table(box=None, padding=(0, 2, 0, 0), show_edge=False, header_style="dim")
    table.add_column("")
    table.add_column("at first", justify="right")
    table.add_column("now", justify="right")
    table.add_column("step by step")
    for change in found:
        before, after = change.words
        table.add_row(change.label, before, Text(after, "bold"), sparkline(change.values))
    return table


def sparkline(values: Sequence[float | None], width: int = WIDTH) -> str:
    """Draw values as bars of eight heights, from their smallest to their largest: means over stretches of steps."""
    known = [value for value in values if value is not None]
    stretches = [known[i * len(known) // width : (i + 1) * len(known) // width] for i in range(width)]
    means = [sum(part) / len(part) for part in stretches if part] if len(known) > width else known
    low, high = min(means, default=0.0), max(means, default=0.0)
    if high == low:
        return BARS[0] * len(means)
    return "".join(BARS[round((mean - low) / (high - low) * (len(BARS) - 1))] for mean in means)


def verdicts(run: Run) -> Text | None:
    """Show the verdicts of the latest batch's groups: a bar, and its numbers below."""
    shares = {key: run.last(key) for key in VERDICTS}
    if None in shares.values():
        return None
    text = Text()
    for key, (_, color) in VERDICTS.items():
        text.append("█" * round(WIDTH * (shares[key] or 0.0)), color)
    text.append("\n")
    for key, (label, color) in VERDICTS.items():
        text.append(f"{label} {100 * (shares[key] or 0.0):.0f} %  ", color)
    silent = run.last("groups/no_signal")
    return text.append(f"no signal {100 * silent:.0f} %", "dim") if silent is not None else text


def seconds(run: Run) -> Text | None:
    """Say what the latest step took, by part."""
    parts = {label: run.last(key) for key, label in SECONDS.items()}
    known = {label: value for label, value in parts.items() if value is not None}
    whole = run.last("step_time")
    if whole is None:
        return None
    known["update"] = max(whole - sum(known.values()), 0.0)
    said = ", ".join(f"{label} {value:.3g}" for label, value in known.items() if value >= 0.001)
    return Text(f"{whole:.3g} a step: {said}")


def stops(run: Run) -> Text | None:
    """Say how the rollouts of the latest batch ended."""
    shares = {key: run.last(key) for key in (run.steps[-1] if run.steps else {}) if key.startswith("stop/")}
    said = [f"{key[5:].replace('_', ' ')} {100 * share:.0f} %" for key, share in shares.items() if share]
    return Text(", ".join(said)) if said else None


def warning_lines(run: Run) -> list[Text]:
    """Return the latest warnings, newest first."""
    found = run.warnings
    earlier = len(found) - SHOWN_WARNINGS
    lines = [Text(f"step {each['step']}: {warning_text(each)}", "yellow") for each in found[: -SHOWN_WARNINGS - 1 : -1]]
    return [*lines, Text(f"and {earlier} earlier", "dim")] if earlier > 0 else lines


def as_json(run: Run, name: str, now: float) -> dict[str, Any]:
    """Return the same for a script."""
    state: Status = status(run, now)
    return {
        "run": name,
        "folder": str(run.folder),
        "title": title(run),
        "status": state.word,
        "why": state.why,
        "step": run.step,
        "max_steps": run.max_steps,
        "seconds_a_step": run.seconds_a_step,
        "seconds_left": run.seconds_left,
        "time_left": None if run.seconds_left is None else in_words(run.seconds_left),
        "resumed_at": run.resumed_at,
        "numbers": {change.label: {"first": change.before, "last": change.after} for change in changes(run)},
        "metrics": {key: run.last(key) for key in (run.steps[-1] if run.steps else {})},
        "warnings": run.warnings,
    }
