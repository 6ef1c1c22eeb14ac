"""Write down what somebody else needs to get the same numbers: the command, and what identifies the problems."""

import hashlib
import json
import shlex
from collections.abc import Iterable
from typing import Any

from concise_rl.evaluate.defaults import settle
from concise_rl.evaluate.exit_runs import exit_arguments
from concise_rl.evaluate.samples import Sample
from concise_rl.evaluate.spec import Manifest, Measurement

FOLDER = "DIR"
"""Stands for the evaluation's folder: a report does not depend on where it lies."""
_ALWAYS = (
    "task",
    "problems",
    "samples",
    "max_tokens",
    "seed",
    "temperature",
    "verifier",
    "judge",
    "engine",
    "batch_size",
)
"""Settings that the command names even where they are the default; a default may change."""
_FOLLOWS = ("data_revision",)
"""What follows from the task, and is no option."""


def eval_command(manifest: Manifest, folder: str = FOLDER) -> list[str]:
    """Write the command that samples the same into `folder`: its words, ready for `shlex.join`."""
    words, (models, exits) = ["concise-rl", "eval"], exit_arguments(manifest.models)
    if manifest.baseline:
        words += ["--baseline", manifest.baseline.model]
    for label, model in models:
        words += ["--model", f"{label}={model}"]
    for name in exits:
        words += ["--exit", name]
    usual = settle(manifest.measurement.task, {})
    for name in Measurement.model_fields:
        value = getattr(manifest.measurement, name)
        if name in _ALWAYS or (value != usual[name] and name not in _FOLLOWS):
            words += _flag(name, value)
    return [*words, "--out", folder]


def _flag(name: str, value: Any) -> list[str]:
    """Return an argument of `concise-rl eval`."""
    flag = f"--{name.replace('_', '-')}"
    if name == "judge":
        return [flag, value or "none"]
    if name == "prompt_template":
        return [flag, value or "{prompt}"]
    if name == "think_end":
        return [flag, value or ""]
    if value is None or value is False:
        return []
    if value is True:
        return [flag]
    return [flag, json.dumps(value) if isinstance(value, dict) else str(value)]


def shell_lines(words: list[str], width: int = 96) -> str:
    """Write a command over several lines of a shell, broken before its flags."""
    lines, groups = [""], [""]
    for word in words:
        if word.startswith("--"):
            groups.append("")
        groups[-1] = f"{groups[-1]} {shlex.quote(word)}".strip()
    for group in groups:
        if lines[-1] and len(lines[-1]) + len(group) > width:
            lines.append("")
        lines[-1] = f"{lines[-1]} {group}".strip()
    return " \\\n  ".join(lines)


def hash_problems(samples: Iterable[Sample]) -> str:
    """Identify the problems: sha256 of their prompts and answers, in the order of the task; its first 16 digits."""
    problems = {sample.problem: [sample.prompt, sample.gold] for sample in samples}
    written = json.dumps([problems[number] for number in sorted(problems)])
    return hashlib.sha256(written.encode()).hexdigest()[:16]
