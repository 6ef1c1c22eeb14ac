"""Print what `concise-rl probe` has to say."""

from collections.abc import Sequence

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from concise_rl.evaluate.intervals import Estimate
from concise_rl.evaluate.probe.advice import Fit
from concise_rl.evaluate.probe.findings import Level
from concise_rl.evaluate.probe.probe import ASSUMED, Probe
from concise_rl.evaluate.probe.rollouts import Budget, Groups, Rollouts
from concise_rl.evaluate.text import between, percent, tokens

MARKS: dict[Level, tuple[str, str]] = {
    "ok": ("OK", "green"),
    "look": ("look here", "yellow"),
    "fault": ("fault", "bold red"),
}
FITS = {True: ("fits", "green"), None: ("not sure", "yellow"), False: ("no", "dim")}
IN_FULL = 3
"""Methods that fit whose reasons are printed."""
Row = tuple[str, str]


def print_probe(probe: Probe, console: Console) -> None:
    """Print headline, numbers, findings and advice, for a terminal of 80 characters."""
    r, advice = probe.measured.rollouts, probe.advice
    title = f"{probe.measured.model} on {probe.measured.task}: {r.problems} problems, {r.samples:,} samples"
    style = "bold green" if advice.verdict == "train" else "bold yellow"
    console.print(Text(title, "dim"), Text(advice.headline, style), "", sep="\n")
    console.print(_rows(numbers(r)), "", _findings(probe), "", _advice(probe), "", sep="\n")
    console.print(Text(ASSUMED, "dim"))


def share(found: Estimate) -> str:
    """Write a share with its interval: `91.8 % [85.9, 95.9]`."""
    return f"{percent(found.value)} {between(found.ci95)}".rstrip()


def numbers(r: Rollouts) -> list[Row]:
    """List what was counted: names and values."""
    quantiles = ", ".join(f"{value:,}" for value in r.quantiles.values())
    budgets = near_quantiles(r)
    return [
        ("accuracy", share(r.accuracy)),
        ("tokens", f"{tokens(r.tokens.value)} {between(r.tokens.ci95, tokens)}"),
        ("", f"10, 50, 90, 99 % of the samples have at most {quantiles}"),
        (
            "cut",
            f"{percent(r.cut.value)} by the cap of {r.cap:,}; {percent(r.unclosed.value)} ended inside the thinking",
        ),
        ("redundant", f"{share(r.redundant)} of right samples' thinking"),
        ("saved", f"{share(r.saved)} of the tokens, if that were left out"),
        *[(f"groups of {groups.size}", falls(groups)) for groups in r.groups],
        ("tokens at most", "".join(f"{budget.tokens:>8,}" for budget in budgets)),
        ("right by then", "".join(f"{percent(budget.ended, 0):>8}" for budget in budgets)),
        ("if stopped early", "".join(f"{percent(budget.stated, 0):>8}" for budget in budgets)),
    ]


def near_quantiles(r: Rollouts) -> list[Budget]:
    """Pick the budgets that come nearest to the quantiles of the lengths."""
    nearest = [min(r.budgets, key=lambda budget: abs(budget.tokens - tokens)) for tokens in r.quantiles.values()]
    return list(dict.fromkeys(nearest))


def falls(groups: Groups) -> str:
    """Say how groups of one size would fall."""
    kinds = (("all right", groups.all_right), ("mixed", groups.mixed), ("all wrong", groups.all_wrong))
    return ", ".join(f"{percent(found.value, 0)} {name}" for name, found in kinds)


def _rows(rows: Sequence[Row]) -> Table:
    table = _grid()
    for name, value in rows:
        table.add_row(Text(name, "bold"), Text(value))
    return table


def _grid() -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    return table


def _findings(probe: Probe) -> Table:
    table = _grid()
    table.add_column(overflow="fold")
    for finding in probe.findings:
        table.add_row(Text(*MARKS[finding.level]), Text(finding.name, "bold"), Text(finding.text))
    return table


def _advice(probe: Probe) -> RenderableType:
    advice = probe.advice
    choices = _rows(
        [
            ("cap", f"{advice.cap.value:,}: {advice.cap.why}"),
            ("group", f"{advice.group.value}: {advice.group.why}"),
        ]
    )
    return Group(choices, "", _methods(advice.methods))


def _methods(fits: Sequence[Fit]) -> Table:
    """List the first that fit, and what speaks against others, with their reasons; the page has all."""
    table = _grid()
    table.add_column(overflow="fold")
    fitting = [fit for fit in fits if fit.fits]
    for fit in (*fitting[:IN_FULL], *(fit for fit in fits if not fit.fits)):
        table.add_row(Text(*FITS[fit.fits]), Text(fit.name, "bold"), Text(fit.why))
    if more := fitting[IN_FULL:]:
        table.add_row(Text(*FITS[True]), Text("others", "bold"), Text(", ".join(fit.name for fit in more)))
    return table
