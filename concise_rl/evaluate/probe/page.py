"""The page of a probe: one file that shows what was found, and the samples themselves."""

from dataclasses import dataclass
from pathlib import Path

from concise_rl.evaluate.browse import browse
from concise_rl.evaluate.intervals import Estimate
from concise_rl.evaluate.probe.findings import Measured
from concise_rl.evaluate.probe.limits import LIMITS
from concise_rl.evaluate.probe.probe import ASSUMED, Probe
from concise_rl.evaluate.probe.rollouts import Groups
from concise_rl.evaluate.text import between, percent, tokens
from concise_rl.output.pages import write_page
from concise_rl.output.pages.curves import Panel, Series, panel_data


@dataclass(frozen=True)
class Recipe:
    """A recipe as the page shows it.

    Attributes:
        path: where it lies.
        text: what it says.
        check, train: the commands that check it and train by it.
    """

    path: Path
    text: str
    check: str
    train: str


def write_probe_page(path: Path, probe: Probe, recipe: Recipe | None) -> None:
    """Write the page.

    Args:
        path: of the HTML file.
        probe: what it shows.
        recipe: the one that was written, if any.
    """
    write_page(
        path,
        "probe.html.j2",
        "concise_rl.evaluate.probe",
        probe=probe,
        m=probe.measured,
        r=probe.measured.rollouts,
        tiles=tiles(probe),
        panels=panel_data(panels(probe.measured)),
        bars=[(groups.size, _bars(groups)) for groups in probe.measured.rollouts.groups],
        limits=LIMITS,
        assumed=ASSUMED,
        recipe=recipe,
        samples=browse(probe.evaluation).data,
        percent=percent,
        levels={"ok": "OK", "look": "look here", "fault": "fault"},
        fits={True: "fits", None: "not sure", False: "no"},
    )


def tiles(probe: Probe) -> list[tuple[str, str, str]]:
    """List the numbers at the top: a name, the number, and what stands below it."""
    r = probe.measured.rollouts
    return [
        ("redundant thinking", percent(r.redundant.value), f"{between(r.redundant.ci95)} of right samples' thinking"),
        ("saved by stopping there", percent(r.saved.value), f"{between(r.saved.ci95)} of all tokens"),
        ("accuracy", percent(r.accuracy.value), f"{between(r.accuracy.ci95)} of {r.samples:,} samples"),
        ("tokens", tokens(r.tokens.value), f"half up to {r.quantiles[50]:,}, 99 % up to {r.quantiles[99]:,}"),
        ("cut by the cap", percent(r.cut.value), f"of {r.cap:,} tokens"),
    ]


def panels(measured: Measured) -> list[Panel]:
    """Draw accuracy by budget, and how long samples are, over the same axis of tokens."""
    r = measured.rollouts
    budgets = [budget.tokens for budget in r.budgets]
    ended = Series("as sampled", budgets, [budget.ended for budget in r.budgets], color=1)
    stated = Series("stopped there", budgets, [budget.stated for budget in r.budgets], color=3)
    lengths = Series("samples", r.edges[1:], [count / r.samples for count in r.counts], color=1)
    return [
        Panel(
            "Accuracy within a budget",
            [ended, stated],
            "Right, and ended within so many tokens. Dashed: each right sample stopped behind the first statement.",
            "percent",
            0.0,
            1.0,
        ),
        Panel(
            "How long samples are",
            [lengths],
            f"Share of the samples of each length, in steps of {r.edges[1]:,} tokens. The cap: {r.cap:,}.",
            "percent",
            0.0,
        ),
    ]


def _bars(groups: Groups) -> list[tuple[str, str, float, str]]:
    """List kind, CSS class, share and interval of the groups of one size."""
    kinds: list[tuple[str, str, Estimate]] = [
        ("all right", "right", groups.all_right),
        ("mixed", "mixed", groups.mixed),
        ("all wrong", "wrong", groups.all_wrong),
    ]
    return [(name, css, found.value or 0.0, between(found.ci95)) for name, css, found in kinds]
