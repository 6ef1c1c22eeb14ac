"""The report of a suite: one table over the reports of its tasks. All of it is a function of their samples."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from concise_rl.evaluate.evaluation import Evaluation, Label, read_evaluation
from concise_rl.evaluate.intervals import RESAMPLES
from concise_rl.evaluate.report import write_report
from concise_rl.evaluate.spec import BASELINE
from concise_rl.evaluate.suite.folder import check_same_models, read_list
from concise_rl.evaluate.suite.means import describe_tasks
from concise_rl.evaluate.suite.page import write_suite_page
from concise_rl.evaluate.text import all_entries
from concise_rl.files import write_atomically

Report = dict[str, Any]
OF_TASK = (
    *("accuracy", "accuracy_ci95", "tokens", "tokens_ci95"),
    *("token_savings", "accuracy_change", "aes", "truncated"),
)
"""What a task's report says of a label, and the suite's says again."""
WEIGHTS = {"macro": False, "pooled": True}
"""The two means over tasks, and whether each weighs problems alike."""


def write_suite_report(folder: Path) -> Report:
    """Write the report of every task of a suite, then its own `report.json` and `report.html`.

    Returns:
        What `report.json` holds.

    Raises:
        ValueError: when samples are missing or corrupt in any task, or models cannot be compared.
    """
    evaluations = read_tasks(folder)
    reports = {name: write_report(folder / name) for name in evaluations}
    report = build_suite_report(evaluations, reports)
    write_suite_page(folder / "report.html", report)
    write_atomically(folder / "report.json", json.dumps(report, indent=2, allow_nan=False) + "\n")
    return report


def read_tasks(folder: Path) -> dict[str, Evaluation]:
    """Read the evaluation of every task of a suite.

    Raises:
        ValueError: with a line for each task that cannot be read, and when a label stands for several models.
    """
    found, errors = {}, []
    for name in read_list(folder).tasks:
        try:
            found[name] = read_evaluation(folder / name)
        except ValueError as error:
            errors.append(str(error))
    if errors:
        raise ValueError("\n".join(errors))
    check_same_models({name: evaluation.manifest for name, evaluation in found.items()})
    return found


def build_suite_report(evaluations: Mapping[str, Evaluation], reports: Mapping[str, Report]) -> Report:
    """Return the content of a suite's `report.json`.

    Args:
        evaluations: of each task, by name.
        reports: what the `report.json` of each holds.
    """
    has_baseline = any(evaluation.baseline for evaluation in evaluations.values())
    names = dict.fromkeys(label.name for evaluation in evaluations.values() for label in evaluation.labels)
    methods = [_entry(name, evaluations, reports) for name in names]
    baseline = _entry(baseline_name(evaluations), evaluations, reports) if has_baseline else None
    return {
        "tasks": [_task(name, reports[name]) for name in reports],
        "baseline": baseline,
        "methods": methods,
        "notes": [],
        "warnings": _warnings([*([baseline] if baseline else []), *methods], reports),
        "interval": f"95 % percentile bootstrap over the problems of each task, paired, {RESAMPLES:,} resamples",
    }


def baseline_name(evaluations: Mapping[str, Evaluation]) -> str:
    """Name the baseline, as the reports of the tasks do."""
    return next((one.baseline.name for one in evaluations.values() if one.baseline), BASELINE)


def _task(name: str, report: Report) -> dict[str, Any]:
    kept = ("problems", "unit", "measurement", "problems_hash", "dropped")
    return {"name": name, "task": report["measurement"]["task"], **{key: report[key] for key in kept}}


def _entry(name: str, evaluations: Mapping[str, Evaluation], reports: Mapping[str, Report]) -> dict[str, Any]:
    """Return all that is said about one label: by task, and over all of them where it was measured on all."""
    tasks = {
        task: {key: entry[key] for key in OF_TASK}
        for task, report in reports.items()
        for entry in all_entries(report)
        if entry["label"] == name
    }
    missing = [task for task in evaluations if task not in tasks]
    means = dict.fromkeys(WEIGHTS) if missing else _means(name, evaluations)
    return {"label": name, "tasks": tasks, "missing": missing, **means}


def _means(name: str, evaluations: Mapping[str, Evaluation]) -> dict[str, Any]:
    own = [_find(name, evaluation) for evaluation in evaluations.values()]
    bases = [evaluation.baseline for evaluation in evaluations.values()]
    compared = all(base is not None and base is not label for base, label in zip(bases, own, strict=True))
    baselines = [base.table for base in bases if base] if compared else None
    tables = [label.table for label in own]
    return {key: asdict(describe_tasks(tables, baselines, pooled)) for key, pooled in WEIGHTS.items()}


def _find(name: str, evaluation: Evaluation) -> Label:
    return next(label for _, label in evaluation.numbered if label.name == name)


def _warnings(entries: list[dict[str, Any]], reports: Mapping[str, Report]) -> list[str]:
    """Return what a reader must know before believing the numbers: of the means first, then of each task."""
    found = [
        f"{entry['label']} was not measured on {', '.join(entry['missing'])}, and has no means: give `concise-rl eval` "
        "the same --out with that model and these tasks."
        for entry in entries
        if entry["missing"]
    ]
    return found + [f"{name}: {warning}" for name, report in reports.items() for warning in report["warnings"]]
