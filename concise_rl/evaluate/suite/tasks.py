"""Name the tasks of a suite: those of a known one, or those that the user lists."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from concise_rl.errors import unknown
from concise_rl.evaluate.defaults import QUICK, TINY_CAP

SUITE = "suite:"
"""What the name of a suite begins with."""
SHORT_SUMS = "reasoning_gym:chain_sum?min_terms=3&max_terms=4&min_digits=1&max_digits=1"
LONG_SUMS = "reasoning_gym:chain_sum?min_terms=5&max_terms=6&min_digits=1&max_digits=1"


@dataclass(frozen=True)
class Suite:
    """Several tasks under one name.

    Attributes:
        tasks: what `--task` takes of each, by the name of its folder.
        general: values of a measurement where neither user nor benchmark say anything.
    """

    tasks: Mapping[str, str]
    general: Mapping[str, Any] = field(default_factory=dict)


def _benchmarks(*names: str) -> Suite:
    return Suite({name: name for name in names})


SUITES: dict[str, Suite] = {
    "math": _benchmarks("math500", "aime24", "aime25", "amc23", "olympiadbench", "minerva"),
    "reasoning": Suite(
        {
            **{name: f"reasoning:{name}" for name in ("problems", "larger", "unseen")},
            **{name: name for name in ("zebra", "knights")},
        }
    ),
    "tiny": Suite(
        {"sums": "tiny:sums", "short_sums": SHORT_SUMS, "long_sums": LONG_SUMS}, {**QUICK, "max_tokens": TINY_CAP}
    ),
}
"""What `--task suite:NAME` measures. The last two need no network."""


@dataclass(frozen=True)
class NamedTask:
    """One task of a suite.

    Attributes:
        name: of its folder, and of its columns.
        task: as `--task` takes it.
        general: see `Suite`.
    """

    name: str
    task: str
    general: Mapping[str, Any] = field(default_factory=dict)


def expand(tasks: Sequence[str]) -> list[NamedTask]:
    """List the tasks that are meant, those of suites one by one.

    Raises:
        ValueError: for an unknown suite, and for two tasks that would share a folder.
    """
    found: list[NamedTask] = []
    for task in tasks:
        found += _of_suite(task.removeprefix(SUITE)) if task.startswith(SUITE) else [NamedTask(folder_name(task), task)]
    for i, one in enumerate(found):
        twin = next((other for other in found[:i] if other.name == one.name), None)
        if twin:
            both = one.task if one.task == twin.task else f"{twin.task} and {one.task}"
            raise ValueError(f"--task {both} would share the folder {one.name!r}: give one of them alone.")
    return found


def _of_suite(name: str) -> list[NamedTask]:
    if name not in SUITES:
        raise unknown("suite", f"{SUITE}{name}", [f"{SUITE}{known}" for known in SUITES])
    suite = SUITES[name]
    return [NamedTask(folder, task, suite.general) for folder, task in suite.tasks.items()]


def folder_name(task: str) -> str:
    """Name a folder after a task: `math500=FILE` as math500, `tiny:sums` as tiny-sums."""
    from concise_rl.tasks.benchmarks import find_benchmark  # help must not wait for verifiers

    found = find_benchmark(task)
    return found[0] if found else re.sub(r"[^A-Za-z0-9._+-]+", "-", task).strip("-._+") or "task"
