"""A probe: an evaluation of one model, read for what it says about training it."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from concise_rl.evaluate.evaluation import Evaluation, read_evaluation
from concise_rl.evaluate.probe.advice import Advice, advise
from concise_rl.evaluate.probe.findings import Finding, Measured, find
from concise_rl.evaluate.probe.limits import LIMITS
from concise_rl.evaluate.probe.rollouts import read_rollouts
from concise_rl.evaluate.probe.tokens import read_tokens
from concise_rl.evaluate.samples import read_samples
from concise_rl.evaluate.spec import ModelRun

ASSUMED = (
    "Saved is an estimate. Each right sample stops behind the passage that first states its answer, and stays right; "
    "wrong samples stay as they are. So accuracy is the same."
)
"""What the savings take for granted."""


@dataclass(frozen=True)
class Probe:
    """Hold what a probe has measured, found and advises.

    Attributes:
        measured: numbers.
        findings: what was looked at.
        advice: what to do.
        evaluation: the samples behind it.
    """

    measured: Measured
    findings: list[Finding]
    advice: Advice
    evaluation: Evaluation


def read_probe(folder: Path, run: ModelRun) -> Probe:
    """Read a probe from the samples in a folder.

    Args:
        folder: of an evaluation.
        run: the model in question.

    Raises:
        ValueError: when samples are missing, a file is corrupt, or the model never closes its thinking.
    """
    evaluation = read_evaluation(folder)
    measurement = evaluation.manifest.drawn_here("A probe samples the model")
    table = _find(evaluation, run)
    samples = list(read_samples(evaluation.paths[run]))
    tokens = read_tokens(run.model, measurement, samples)
    rollouts = read_rollouts(table, measurement.max_tokens)
    measured = Measured(run.model, measurement.task, measurement, rollouts, tokens)
    check_thinks(measured)
    findings = find(measured)
    return Probe(measured, findings, advise(measured, findings), evaluation)


def _find(evaluation: Evaluation, run: ModelRun) -> Any:
    """Find the table of a run's samples."""
    return next(
        table
        for label in evaluation.labels
        for there, table in zip(label.runs, label.drawn, strict=True)
        if (there.label, there.run) == (run.label, run.run)
    )


def check_thinks(measured: Measured) -> None:
    """Refuse a model that does not think.

    Raises:
        ValueError: when samples ended, none of them held a delimiter, its own or another model's, and the template has
            not closed the thinking either.
    """
    closed = measured.rollouts.closed
    tokens = measured.tokens
    if closed.value == 0 and not tokens.others and not tokens.closes and LIMITS["half_cut"].holds(measured.rollouts):
        raise ValueError(
            f"{measured.model} never closes its thinking with {measured.measurement.think_end!r}, in none of "
            f"{measured.rollouts.samples} samples: is it a model that thinks? Give --think-end the text that closes it."
        )


def to_json(probe: Probe, recipe: Path | None) -> dict[str, Any]:
    """Build the content of `probe.json`."""
    measured = probe.measured
    return {
        "model": measured.model,
        "task": measured.task,
        "verdict": probe.advice.verdict,
        "headline": probe.advice.headline,
        "rollouts": asdict(measured.rollouts),
        "tokens": asdict(measured.tokens),
        "findings": [asdict(finding) for finding in probe.findings],
        "advice": {**asdict(probe.advice), "best": probe.advice.best},
        "limits": {name: {"at": one.at, "what": one.words, "reason": one.reason} for name, one in LIMITS.items()},
        "assumed": ASSUMED,
        "recipe": None if recipe is None else str(recipe),
        "measurement": measured.measurement.model_dump(),
    }


def as_text(content: dict[str, Any]) -> str:
    """Write the same as a file holds it."""
    return json.dumps(content, indent=2, allow_nan=False, ensure_ascii=False) + "\n"
