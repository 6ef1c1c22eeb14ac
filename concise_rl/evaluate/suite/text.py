"""A suite's report as people read it: the headline, and the terminal's table."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from concise_rl.evaluate import text
from concise_rl.evaluate.text import all_entries, between, percent, points, score, tokens

Report = Mapping[str, Any]
Row = Mapping[str, Any]
COLUMNS = ("accuracy", "tokens", "saved", "acc. change", "AES")


def headline(report: Report) -> str:
    """Return the one sentence that a reader takes away."""
    entry = report["methods"][0]
    if entry["macro"] is None:
        return f"{entry['label']} was not measured on every task: no mean is taken."
    mean = flat(entry["macro"])
    kept = {name: mean[name] for name in ("token_savings", "accuracy_change")}
    said = text.headline({"model": {"label": entry["label"], **mean}, "unit": "sample", **kept})
    return f"{task_count(report)}: {said}"


def task_count(report: Report) -> str:
    """Say over how many tasks a mean is taken."""
    count = len(report["tasks"])
    return f"Mean of {count} tasks" if count > 1 else "One task"


def flat(mean: Mapping[str, Any]) -> dict[str, Any]:
    """Return a mean over tasks as a task's report writes the same numbers: `accuracy` and `accuracy_ci95` apart."""
    apart = {f"{name}{end}": mean[name][key] for name in ("accuracy", "tokens") for end, key in ENDS}
    return {**apart, **{name: mean[name] for name in ("token_savings", "accuracy_change", "aes")}}


ENDS = (("", "value"), ("_ci95", "ci95"))


def rows_of(entry: Mapping[str, Any]) -> list[tuple[str, Row]]:
    """Return what is said of a label, by the name of its row: its means, then its tasks."""
    means = [(name, flat(entry[key])) for name, key in (("mean of tasks", "macro"), ("pooled", "pooled")) if entry[key]]
    return [*means, *entry["tasks"].items()]


def terminal_table(report: Report) -> Table:
    """Return the report as a table: a block of lines for each label, its means above its tasks."""
    problems = sum(task["problems"] for task in report["tasks"])
    table = Table(
        box=box.SIMPLE_HEAD,
        padding=0,
        title=f"{len(report['tasks'])} tasks, {problems:,} problems",
        caption="± and brackets: 95 % intervals, bootstrap over the problems of each task. Change of accuracy in "
        "points. Mean of tasks: every task weighs the same; pooled: every problem. AES of the means.",
        title_style="bold",
        caption_justify="left",
    )
    table.add_column("model", overflow="fold", min_width=16)
    for name in COLUMNS:
        table.add_column(name, justify="right", no_wrap=True)
    for entry in all_entries(report):
        table.add_row(Text(entry["label"], style="bold"))
        for name, row in rows_of(entry):
            table.add_row(Text(f"  {name}"), *_cells(row))
    return table


def _cells(row: Row) -> list[Text]:
    saved, change, interval = row["token_savings"] or {}, row["accuracy_change"] or {}, row["accuracy_ci95"]
    half = f"±{50 * (interval[1] - interval[0]):.1f}" if interval else ""
    pairs = [
        (percent(row["accuracy"]), half),
        (tokens(row["tokens"]), ""),
        (percent(saved.get("value")), between(saved.get("ci95"))),
        (points(change.get("value")), between(change.get("ci95"), points)),
        (score(row["aes"]), ""),
    ]
    return [Text(value).append(f"\n{below}", style="dim") if below else Text(value) for value, below in pairs]


def markdown_table(report: Report) -> str:
    """Write the table for a README: accuracy and tokens of each task, then the means; AES and savings of those."""
    names = [task["name"] for task in report["tasks"]]
    heads = ["model", *(f"{name}: {what}" for name in names for what in ("accuracy", "tokens"))]
    heads += ["mean accuracy", "mean tokens", *(["tokens saved", "AES"] if report["baseline"] else [])]
    rows = [[entry["label"], *_markdown_cells(entry, names, bool(report["baseline"]))] for entry in all_entries(report)]
    lines = [heads, ["---", *["---:"] * (len(heads) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _markdown_cells(entry: Mapping[str, Any], names: Sequence[str], compared: bool) -> list[str]:
    blank = dict.fromkeys(("accuracy", "tokens", "token_savings", "aes"))
    mean = flat(entry["macro"]) if entry["macro"] else blank
    rows = [*(entry["tasks"].get(name, blank) for name in names), mean]
    cells = [cell for row in rows for cell in (percent(row["accuracy"]), tokens(row["tokens"]))]
    if not compared:
        return cells
    saved = mean["token_savings"] or {}
    return [*cells, f"{percent(saved.get('value'))} {between(saved.get('ci95'))}".strip(), score(mean["aes"])]
