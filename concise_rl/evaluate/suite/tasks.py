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


LETS_THINK = "{prompt} Let's think step by step and output the final answer within \\boxed{}."
"""How DeepScaleR, and those who train on its problems, ask."""


@dataclass(frozen=True)
class NamedTask:
    """One task of a suite.

    Attributes:
        name: of its folder, and of its columns.
        task: as `--task` takes it.
        settings: of its measurement, in place of the benchmark's own. What the user gives takes their place.
    """

    name: str
    task: str
    settings: Mapping[str, Any] = field(default_factory=dict)


def _benchmarks(*names: str, **settings: Any) -> tuple[NamedTask, ...]:
    return tuple(NamedTask(name, name, settings) for name in names)


SUITES: dict[str, tuple[NamedTask, ...]] = {
    "math": _benchmarks("math500", "aime24", "aime25", "amc23", "olympiadbench", "minerva"),
    # The seven of DECS (arXiv 2509.25827), with its samples and cap, and the prompt that it trains on.
    "decs": (
        *_benchmarks("aime24", "aime25", "amc23", samples=128, max_tokens=16384, prompt_template=LETS_THINK),
        *_benchmarks("math500", "olympiadbench", samples=16, max_tokens=16384, prompt_template=LETS_THINK),
        *_benchmarks("gpqa_diamond", samples=16, max_tokens=16384),
        *_benchmarks("lcb_v6", samples=10, max_tokens=16384),
    ),
    # The five of S-GRPO (arXiv 2505.07686) and GRPO-lambda (2505.18086), whose samples are not published.
    "s_grpo": _benchmarks("gsm8k", "gpqa_diamond", "math500", "amc23", "aime24", max_tokens=16384),
    "reasoning": (
        *(NamedTask(name, f"reasoning:{name}") for name in ("problems", "larger", "unseen")),
        *_benchmarks("zebra", "knights"),
    ),
    "tiny": (
        NamedTask("sums", "tiny:sums"),
        NamedTask("short_sums", SHORT_SUMS, {**QUICK, "max_tokens": TINY_CAP}),
        NamedTask("long_sums", LONG_SUMS, {**QUICK, "max_tokens": TINY_CAP}),
    ),
}
"""What `--task suite:NAME` measures. `reasoning` and `tiny` need no network."""


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


def _of_suite(name: str) -> tuple[NamedTask, ...]:
    if name not in SUITES:
        raise unknown("suite", f"{SUITE}{name}", [f"{SUITE}{known}" for known in SUITES])
    return SUITES[name]


def folder_name(task: str) -> str:
    """Name a folder after a task: `math500=FILE` as math500, `tiny:sums` as tiny-sums."""
    from concise_rl.tasks.benchmarks import find_benchmark  # help must not wait for verifiers

    found = find_benchmark(task)
    return found[0] if found else re.sub(r"[^A-Za-z0-9._+-]+", "-", task).strip("-._+") or "task"
