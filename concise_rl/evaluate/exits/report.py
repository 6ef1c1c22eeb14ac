"""The report on exits: every number in it is a function of the samples and probes of a folder."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from concise_rl.evaluate.evaluation import Label
from concise_rl.evaluate.exits.outcomes import (
    COSTS,
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
from concise_rl.evaluate.intervals import RESAMPLES
from concise_rl.evaluate.reproduce import FOLDER
from concise_rl.evaluate.spec import ModelRun
from concise_rl.evaluate.vote import vote
from concise_rl.rollout.exits import EXITS, parse_exit
from concise_rl.rollout.exits.deepconf import DeepConf
from concise_rl.rollout.exits.nowait import NoWait
from concise_rl.rollout.exits.policy import Exit

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
        "votes": votes(probed),
        "notes": notes(probed),
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


def votes(probed: Probed) -> list[dict[str, Any]]:
    """Return what the questions come to when all samples that ended answer together: of the probed label, and of the
    labels whose samples were given up for that (deepconf). Empty without such a label."""
    labels = [label for _, label in probed.evaluation.numbered]
    giving_up = [one for one in labels if isinstance(built_exit(probed, one.name), DeepConf)]
    if not giving_up:
        return []
    full = next(one for one in labels if one.name == probed.label)
    samples = probed.measurement.samples * len(full.runs)
    base = as_questions(full, samples)
    return [asdict(point(one.name, as_questions(one, samples), base)) for one in (full, *giving_up)]


def as_questions(label: Label, samples: int) -> Outcomes:
    """Arrange questions that so many samples of a label answer by majority: one column, with the tokens of them all."""
    voted, shape = vote(label.table, samples), (len(label.table.oracle_P), 1)
    spent = {name: label.table.cost_PK(name).sum(axis=1, keepdims=True) for name in COSTS}
    return Outcomes(voted.correct_PK, np.full(shape, np.nan), voted.length_PK, spent)


def built_exit(probed: Probed, label: str) -> Exit | None:
    """Return the exit that a label was drawn with; None for none."""
    text = exit_of(probed, label)
    return None if text is None else parse_exit(text, EXITS)


def notes(probed: Probed) -> list[str]:
    """Say what a reader must know of labels that were drawn with an exit: the tokens that nowait bans."""
    found = [(label.name, built_exit(probed, label.name)) for label in others(probed)]
    return [f"{name}: {exit_.note(probed.tools)}" for name, exit_ in found if isinstance(exit_, NoWait)]


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
