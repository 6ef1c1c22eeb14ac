"""The report on exits in words: the terminal table, and the sentences that a reader takes away."""

from collections.abc import Mapping
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from concise_rl.evaluate.exits.points import NO_EXIT, title
from concise_rl.evaluate.text import NONE, bare_percent, between, percent, points, tokens

Report = Mapping[str, Any]
Entry = Mapping[str, Any]


def heading(report: Report) -> str:
    """Say what was tried on what."""
    return (
        f"{report['measurement']['task']}: exits tried on {report['samples']:,} samples of {report['label']} "
        f"({report['problems']} problems)"
    )


def rows_of(report: Report) -> list[tuple[str, Entry]]:
    """List what the terminal shows: the full samples, of each policy its own value and the best, the oracle, labels."""
    rows = [("full samples", report["full"])]
    for curve in report["curves"]:
        best = curve["equal"]
        for number, one in enumerate(curve["points"]):
            if one["default"] or number == best:
                marks = [mark for mark, is_so in (("default", one["default"]), ("best", number == best)) if is_so]
                rows.append((f"{title(one['name'], one['value'])} ({', '.join(marks)})", one))
    rows.append(("oracle stop", report["oracle"]))
    return [*rows, *((label["name"], label) for label in report["labels"])]


def terminal_table(report: Report) -> Table:
    """Write a line for the full samples, each policy, the oracle and each other label."""
    table = Table(
        box=box.SIMPLE_HEAD,
        padding=0,
        title=heading(report),
        title_style="bold",
        caption=CAPTION,
        caption_justify="left",
    )
    table.add_column("exit", overflow="fold", min_width=14)
    for name in ("accuracy", "change", "text", "decoded", "saved", "looks", "stopped"):
        table.add_column(name, justify="right", no_wrap=True)
    for name, one in rows_of(report):
        table.add_row(Text(name), *cells(one))
    return table


CAPTION = (
    "default: the policy's own setting. best: of its curve, the fewest decoded tokens within 2 points of the full "
    "samples. Text: tokens of a completion, as papers count them. Decoded: with those that looks decode. Saved: of the "
    "decoded ones, against the full samples. Brackets: 95 % intervals, paired over problems."
)


def cells(one: Entry) -> list[Text]:
    """Write the numbers of a point."""
    change, saved = one["accuracy_change"], one["spent_savings"]
    return [
        Text(percent(one["accuracy"])),
        _with_interval(points(change["value"]), between(change["ci95"], points)),
        Text(tokens(one["tokens"])),
        Text(tokens(one["spent"])),
        _with_interval(percent(saved["value"]), between(saved["ci95"], bare_percent)),
        Text(f"{one['cost']['probes']:.1f}" if one["cost"]["probes"] else NONE),
        Text(percent(one["stopped"]) if one["stopped"] else NONE),
    ]


def _with_interval(value: str, interval: str) -> Text:
    return Text(value).append(f"\n{interval}" if interval else "", style="dim")


def sentences(report: Report) -> list[str]:
    """Say what the curves come to."""
    said = [*(beyond_sentence(one) for one in report["beyond"]), first_right_sentence(report)]
    refused = [f"Not tried: {name}: {reason}" for name, reason in report["refused"].items()]
    return [*said, *refused]


def beyond_sentence(one: Entry) -> str:
    """Say what a trained label saves beyond the best exit that needs no training."""
    if one["exit"] is None:
        return (
            f"No exit without training is as accurate as {one['label']}: the most accurate comes to "
            f"{percent(one['accuracy'])} at {tokens(one['spent'])} decoded tokens."
        )
    saved, interval = one["savings"]["value"], between(one["savings"]["ci95"])
    if one["exit"] == NO_EXIT:
        return (
            f"No exit without training is as accurate as {one['label']}, but for the full samples, with "
            f"{percent(one['accuracy'])} at {tokens(one['spent'])} tokens; {one['label']} saves {percent(saved)} of "
            f"them {interval}."
        )
    return (
        f"At no lower accuracy than {one['label']}, the best exit without training is {one['exit']}, with "
        f"{percent(one['accuracy'])} at {tokens(one['spent'])} decoded tokens; {one['label']} saves {percent(saved)} "
        f"of them {interval}."
    )


def first_right_sentence(report: Report) -> str:
    """Say where forced answers are right for the first time."""
    found = report["first_right"]
    if found["share"] is None:
        return "No answer that was forced within the thinking is right."
    return (
        f"{percent(found['early'])} of the samples answer right at a place within their thinking, on average after "
        f"{percent(found['share'])} of it, with {tokens(found['behind'])} thinking tokens behind; "
        f"{percent(found['lost'])} do so and are wrong at their own end."
    )
