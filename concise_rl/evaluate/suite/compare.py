"""Several suites in one table: each task is compared by itself, and the means are taken over all of them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from concise_rl.errors import unknown
from concise_rl.evaluate.compare import Comparison, command_of, compare
from concise_rl.evaluate.compare.columns import COLUMNS, DEFAULTS, NEEDS_BASELINE
from concise_rl.evaluate.suite.folder import is_suite, read_list
from concise_rl.evaluate.suite.page import write_suite_page
from concise_rl.evaluate.suite.report import build_suite_report
from concise_rl.evaluate.suite.text import flat
from concise_rl.files import write_atomically

SORTED = ("accuracy", "tokens", "saved", "change", "aes")
"""Columns that a mean over tasks has."""


@dataclass(frozen=True)
class SuiteComparison:
    """Hold what was compared.

    Attributes:
        report: the content of `compare.json`.
        page: where `compare.html` lies.
    """

    report: dict[str, Any]
    page: Path


def compare_suites(
    folders: Sequence[Path],
    out: Path,
    labels: Sequence[tuple[str, str]],
    baseline: str | None,
    sort: str | None,
    margin: float,
) -> SuiteComparison:
    """Compare suites; write `compare.json` and `compare.html` into `out`, and those of each task into a folder there.

    Args:
        folders: of suites, whose tasks were measured alike.
        out, labels, baseline, sort, margin: see `concise_rl.evaluate.compare.compare`. A place is a suite's folder.

    Raises:
        ValueError: when a folder is no suite, the suites share no task, or a task's evaluations cannot be compared.
    """
    tasks, warnings = shared_tasks(folders)
    found = {name: _compare_task(name, folders, out, labels, baseline, sort, margin) for name in tasks}
    report = build_suite_report(
        {name: one.evaluation for name, one in found.items()}, {name: one.report for name, one in found.items()}
    )
    by = _sort_column(sort, report)
    report["methods"].sort(key=lambda entry: COLUMNS[by].sort_key(_mean_of(entry)))
    report["warnings"] = [*warnings, *report["warnings"]]
    report |= {
        "sorted_by": by,
        "notes": list(dict.fromkeys(note for one in found.values() for note in one.report["notes"])),
        "sources": [str(folder) for folder in folders],
        "command": command_of(folders, out, labels, baseline, sort, margin),
    }
    page = out / "compare.html"
    write_suite_page(page, report, "compare.html")
    write_atomically(out / "compare.json", json.dumps(report, indent=2, allow_nan=False) + "\n")
    return SuiteComparison(report, page)


def shared_tasks(folders: Sequence[Path]) -> tuple[list[str], list[str]]:
    """Return the tasks that all suites have, and warnings about those that only some have.

    Raises:
        ValueError: when a folder is no suite, or they share no task.
    """
    plain = [str(folder) for folder in folders if not is_suite(folder)]
    if plain:
        raise ValueError(
            f"{', '.join(plain)} is no suite, and the others are: give suites alone, or the folder of a task in each, "
            "DIR/TASK."
        )
    lists = {folder: list(read_list(folder).tasks) for folder in folders}
    first, *others = lists.values()
    shared = [name for name in first if all(name in other for other in others)]
    if not shared:
        has = "; ".join(f"{folder}: {', '.join(names)}" for folder, names in lists.items())
        raise ValueError(f"These suites share no task ({has}).")
    left = [f"{name} of {folder}" for folder, names in lists.items() for name in names if name not in shared]
    return shared, [f"Left out of the means, as not every suite has it: {', '.join(left)}."] if left else []


def _compare_task(
    name: str,
    folders: Sequence[Path],
    out: Path,
    labels: Sequence[tuple[str, str]],
    baseline: str | None,
    sort: str | None,
    margin: float,
) -> Comparison:
    places = {str(folder): folder / name for folder in folders}
    own = [(_place(place, places), label) for place, label in labels]
    base = baseline and str(places.get(str(Path(baseline)), baseline))
    return compare([folder / name for folder in folders], out / name, own, base, sort, margin)


def _place(given: str, places: Mapping[str, Path]) -> str:
    """Write a place in a suite, `DIR` or `DIR/LABEL`, as that in the folder of a task."""
    path = Path(given)
    if str(path) in places:
        return str(places[str(path)])
    return str(places[str(path.parent)] / path.name) if str(path.parent) in places else given


def _sort_column(sort: str | None, report: Mapping[str, Any]) -> str:
    by = sort or DEFAULTS[report["baseline"] is not None]
    if by not in SORTED:
        raise unknown("column of a suite", by, SORTED)
    if by in NEEDS_BASELINE and report["baseline"] is None:
        raise ValueError(f"There is no baseline to count {by!r} from. Name one, --baseline LABEL, or sort otherwise.")
    return by


def _mean_of(entry: Mapping[str, Any]) -> dict[str, Any]:
    nothing = {"accuracy": None, "tokens": None, "token_savings": None, "accuracy_change": None, "aes": None}
    return {"label": entry["label"], **(flat(entry["macro"]) if entry["macro"] else nothing)}
