"""The report on exits: every number in it is a function of the samples and probes of a folder."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from concise_rl.evaluate.evaluation import Label
from concise_rl.evaluate.exits.outcomes import (
    Outcome,
    Outcomes,
    as_drawn,
    first_right,
    oracle,
    side_by_side,
    tabulate_outcomes,
)
from concise_rl.evaluate.exits.points import NO_EXIT, Point, beyond, mark_front, point, title
from concise_rl.evaluate.exits.replay import Setting, Thinking
from concise_rl.evaluate.exits.subjects import Probed, sorted_samples
from concise_rl.evaluate.reproduce import FOLDER
from concise_rl.evaluate.spec import ModelRun
from concise_rl.evaluate.statistics import RESAMPLES

MARGIN = 0.02
"""Accuracy by which a setting may be lower and still pass for equal, as in `concise-rl compare`."""


@dataclass(frozen=True)
class Tried:
    """Policies on the samples of a label, ready to be reported.

    Attributes:
        probed: whose samples.
        thoughts: of each run, every sample as policies see it, with all that was asked.
        settings: of each policy, by name.
        refused: why other policies were not tried, by name.
        words: of the command that makes the report, without the folder.
    """

    probed: Probed
    thoughts: Mapping[ModelRun, Sequence[Thinking]]
    settings: Mapping[str, Sequence[Setting]]
    refused: Mapping[str, str]
    words: Sequence[str]

    def outcomes(self, made: Any) -> Outcomes:
        """Arrange what a function makes of each sample: (P, K of all runs)."""
        runs = [
            tabulate_outcomes({(one.sample.problem, one.sample.sample): made(one) for one in thoughts})
            for thoughts in self.thoughts.values()
        ]
        return side_by_side(runs)


def build_report(tried: Tried) -> dict[str, Any]:
    """Return the content of `exits.json`."""
    probed = tried.probed
    full = tried.outcomes(lambda one: as_drawn(one.sample))
    bound = point("oracle", tried.outcomes(lambda one: oracle(one.sample, one.known)), full)
    replayed = {
        name: [(setting, tried.outcomes(lambda one, at=setting: one.outcome(at.policy))) for setting in settings]
        for name, settings in tried.settings.items()
    }
    curves = [_curve(name, settings, full) for name, settings in replayed.items()]
    labels = {label.name: _as_drawn(label, probed) for label in others(probed)}
    stopping = [
        (s, found) for settings in replayed.values() for s, found in settings if not np.isnan(found.at_PK).all()
    ]
    exits = [(NO_EXIT, full), *((title(setting.name, setting.value), found) for setting, found in stopping)]
    drawn = [point(name, outcomes, full) for name, outcomes in labels.items()]
    trained = {name: one for name, one in labels.items() if not exit_of(probed, name)}
    found = [beyond(name, outcomes, exits) for name, outcomes in trained.items()]
    report = {
        "label": probed.label,
        "model": next(iter(probed.runs)).model,
        "problems": probed.evaluation.manifest.num_problems,
        "samples": sum(len(thoughts) for thoughts in tried.thoughts.values()),
        "full": asdict(point("full", full, full)),
        "oracle": asdict(bound),
        "first_right": asdict(first_right([(t.sample, t.known) for ts in tried.thoughts.values() for t in ts])),
        "curves": curves,
        "labels": [{**asdict(one), "exit": exit_of(probed, one.name)} for one in drawn],
        "beyond": [asdict(one) for one in found if one],
        "refused": dict(tried.refused),
        "measurement": probed.measurement.model_dump(),
        "interval": f"95 % percentile bootstrap over problems, paired, {RESAMPLES:,} resamples",
        "command": shlex.join(["concise-rl", "exits", FOLDER, *tried.words]),
    }
    _mark_front(report)
    return report


def _curve(name: str, settings: Sequence[tuple[Setting, Outcomes]], full: Outcomes) -> dict[str, Any]:
    """Return a policy's points in the order of its dial. Of several that stop nothing, the strictest is kept, and the
    policy's own value."""
    policy = settings[0][0].policy
    points = [point(name, outcomes, full, setting.value, setting.default) for setting, outcomes in settings]
    idle = [one for one in points if not one.stopped]
    kept = [one for one in points if one.stopped or one.default or one is idle[-1]]
    return {
        "name": name,
        "summary": summary_of(policy),
        "dial": policy.dial or None,
        "options": policy.model_dump(exclude={policy.dial}),
        "points": [asdict(one) for one in kept],
        "equal": best_at_equal_accuracy(kept),
    }


def summary_of(policy: Any) -> str:
    """Return the first line of a policy's docstring."""
    return (type(policy).__doc__ or "").strip().partition("\n")[0]


def best_at_equal_accuracy(points: Sequence[Point]) -> int | None:
    """Return the number of the point that spends least, of those that stop anything and lose at most two points."""
    equal = [
        (one.spent, i)
        for i, one in enumerate(points)
        if one.stopped and one.accuracy_change.value is not None and one.accuracy_change.value >= -MARGIN
    ]
    return min(equal)[1] if equal else None


def others(probed: Probed) -> list[Label]:
    """Return the other labels of the folder."""
    return [label for _, label in probed.evaluation.numbered if label.name != probed.label]


def exit_of(probed: Probed, label: str) -> str | None:
    """Return the exit that a label was drawn with; None for none."""
    return next((run.exit for run in probed.evaluation.manifest.runs if run.label == label), None)


def _as_drawn(label: Label, probed: Probed) -> Outcomes:
    """Arrange a label's samples as they were drawn."""
    runs: list[dict[tuple[int, int], Outcome]] = [
        {(one.problem, one.sample): as_drawn(one) for one in sorted_samples(probed.evaluation.paths[run])}
        for run in label.runs
    ]
    return side_by_side([tabulate_outcomes(run) for run in runs])


def _mark_front(report: dict[str, Any]) -> None:
    """Write to each point whether another dominates it. The oracle, which nobody can have, is none of them."""
    points = [report["full"], *(one for curve in report["curves"] for one in curve["points"]), *report["labels"]]
    for one, front in zip(points, mark_front([(p["spent"], p["accuracy"]) for p in points]), strict=True):
        one["on_front"] = front
