"""Settle what is left open: what is given wins over what the task's benchmark says, and that over the rest."""

from collections.abc import Mapping
from typing import Any

from concise_rl.evaluate.options import DEFAULT
from concise_rl.evaluate.spec import whole_groups

CONTINUOUS_BATCH = 4096
"""Completions of a batch, where the engine refills itself."""
QUICK: dict[str, int | None] = {"problems": 192, "samples": 2}
"""What is drawn of a tiny: task unless said otherwise: its intervals are of use, and are there within a minute."""
TINY_CAP = 512
"""Completion tokens at most of the embedded reasoner, whose context is short, unless the user says otherwise."""
OF_BENCHMARK = (
    *("split", "prompt_template", "system_prompt"),
    *("verifier", "samples", "temperature", "top_p", "max_tokens"),
)
"""Fields of a measurement that a benchmark sets. Its rows have `prompt` and `answer`, however its data is made."""
HOW_IT_IS_DRAWN = ("samples", "temperature", "top_p", "max_tokens", "verifier")
"""Those that are said: the others only follow from where the data lies."""


def settle(task: str, given: Mapping[str, Any], general: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return a value for each field of `Measurement`.

    Args:
        task: where the problems come from.
        given: what the user, or a suite, says; None where that is nothing.
        general: what a command takes where neither user nor benchmark say anything, and `Measurement` does not fit.

    Raises:
        ValueError: when `task` nearly names a benchmark.
    """
    usual = DEFAULT | default_size(task) | {"max_tokens": default_cap(task), "verifier": default_verifier(task)}
    told = {name: value for name, value in given.items() if value is not None}
    return usual | dict(general or {}) | of_benchmark(task) | told | {"task": task}


def of_benchmark(task: str) -> dict[str, Any]:
    """Return what the benchmark that a task names says of a measurement; nothing where it names none.

    Raises:
        ValueError: when `task` nearly names one.
    """
    from concise_rl.tasks.benchmarks import find_benchmark  # help must not wait for verifiers

    if (found := find_benchmark(task)) is None:
        return {}
    _, benchmark, file = found
    said = {name: getattr(benchmark, name) for name in OF_BENCHMARK}
    return said | {"data_revision": None if file else benchmark.revision}


def said_by_benchmark(task: str, given: Mapping[str, Any]) -> str:
    """Say which defaults a task's benchmark has set, in a line; empty where there are none."""
    taken = {name: value for name, value in of_benchmark(task).items() if name in HOW_IT_IS_DRAWN}
    left = [f"{name} {value}" for name, value in taken.items() if given.get(name) is None]
    return f"{task}: {', '.join(left)}, as its benchmark says; options take their place." if left else ""


def default_size(task: str) -> dict[str, int | None]:
    """Return how many problems are drawn, and samples of each."""
    return QUICK if task.startswith("tiny:") else {name: DEFAULT[name] for name in QUICK}


def default_cap(task: str) -> int:
    """Return the cap on completion tokens. Real reasoners need room, or the cap is all that is measured."""
    return TINY_CAP if task.startswith("tiny:") else DEFAULT["max_tokens"]


def default_verifier(task: str) -> str:
    """Name the verifier: reasoning-gym's own scorer for its tasks, mathematics for everything else."""
    from concise_rl.data.sources import GENERATED  # which imports datasets

    if task == "tiny:bench":  # made here, not by reasoning-gym
        return "exact"
    return "reasoning_gym" if task.startswith(GENERATED) else "math"


def batch_of(engine: str) -> int:
    """Return the completions that an engine draws together, unless told otherwise."""
    return DEFAULT["batch_size"] if engine == "transformers" else CONTINUOUS_BATCH


def default_batch_size(engine: str, samples: int, keep_shortest: int | None) -> int:
    """Return the batch size: vLLM takes in new completions as others end, so that its batches can be large. Whole
    problems, where those need it."""
    size = batch_of(engine)
    return whole_groups(size, max(1, samples)) if keep_shortest else size
