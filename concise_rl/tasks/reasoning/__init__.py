"""Reasoning in plain English on tasks of reasoning-gym: what a small language model is made to overthink with.

Names of data sets, each with `?option=value&...`:

- `reasoning:problems`: the tasks that are trained on, at sizes that are trained on. Splits train and test.
- `reasoning:larger`: the same tasks at sizes that never are.
- `reasoning:unseen`: tasks that never are.
- `reasoning:traces`: demonstrations on train problems, for supervised fine-tuning. Further options are the fields of
  `Habits`, and `direct`.
- `reasoning:short_problems`, `short_larger`, `short_unseen` and `short_traces`: the same for one CPU core, with less
  to calculate and to write.

`tasks=gcd,chain_sum` restricts any of them. Rows take the tasks in turn. `difficulty` is the name of the task, so that
a report tells the tasks apart.
"""

import dataclasses
import functools
import hashlib
import itertools
import random
from collections.abc import Iterator, Mapping
from typing import Any

from concise_rl.errors import unknown
from concise_rl.tasks.reasoning.overthinking import Habits, Pass, overthinking_completion, shortest_completion
from concise_rl.tasks.reasoning.tasks import ENGLISH, SEEN, SHORT, SHORT_LARGER, SHORT_UNSEEN, UNSEEN, Metadata, Sizes
from concise_rl.verify.verifiers.metadata import dump_metadata

Row = dict[str, Any]

PROBLEMS: dict[str, Mapping[str, Sizes]] = {
    "problems": {name: task.trained for name, task in SEEN.items()},
    "larger": {name: task.larger for name, task in SEEN.items()},
    "unseen": UNSEEN,
    "short_problems": SHORT,
    "short_larger": SHORT_LARGER,
    "short_unseen": SHORT_UNSEEN,
}
"""Data sets of problems: the sizes of their tasks."""
HABITS = {
    "traces": Habits(first_slip=0.04, check_slip=0.002, max_checks=3, no_check=0.1),
    "short_traces": Habits(first_slip=0.02, check_slip=0.002, max_checks=2, no_check=0.2),
}
"""Data sets of demonstrations: how they overthink. A language model makes errors of its own; those here teach it that a
check may find one."""
NAMES = (*PROBLEMS, *HABITS)
DEFAULT_ROWS = 4096
PATIENCE = 20_000
"""Problems drawn in vain, after which a task is taken to have no new one."""


def load_problems(
    name: str, split: str = "train", num_rows: int | None = None, seed: int = 0, tasks: str = ""
) -> list[Row]:
    """The first different problems of a data set, the tasks in turn.

    Args:
        name: of the data set, one of `PROBLEMS`.
        split: `train` or `test`. They share no problem, whatever the seeds.
        num_rows: how many; 4,096 unless told.
        seed: of the problems.
        tasks: names of its tasks, with commas between them; all unless told.

    Returns:
        Rows of `prompt`, `answer`, `metadata` (reasoning-gym's, as JSON, for its scorer), `difficulty` (the task) and,
        for tasks that are trained on, `oracle_completion` (the shortest sufficient completion).

    Raises:
        ValueError: for an unknown split or task, or when a task has not as many problems.
    """
    if split not in ("train", "test"):
        raise ValueError(f"reasoning:{name} has the splits train and test, not {split!r}.")
    streams = _streams(name, split, seed, tasks)
    fresh = {task: _without_repeats(f"{task} (split {split})", stream) for task, stream in streams.items()}
    turns = itertools.islice(itertools.cycle(fresh), num_rows or DEFAULT_ROWS)
    return [_as_row(task, next(fresh[task])) for task in turns]


def load_traces(
    num_rows: int | None = None,
    seed: int = 0,
    habits: Habits | None = None,
    tasks: str = "",
    name: str = "traces",
    direct: float = 0.0,
) -> list[Row]:
    """Demonstrations on train problems, the tasks in turn: rows of `prompt` and `answer`, the answer being a whole
    completion.

    Args:
        num_rows: how many; 4,096 unless told. Problems may repeat.
        seed: of the problems and of the traces.
        habits: how the traces overthink; those of the data set unless told.
        tasks: as in `load_problems`.
        name: of the data set, one of `HABITS`.
        direct: share of the rows, the first ones, that stop after a first pass without slips. They are short, so that
            the steps are learnt at a fraction of the tokens. Take the rows in order then.

    Raises:
        ValueError: for an unknown task.
    """
    rng = random.Random(seed)
    streams = _streams(name.replace("traces", "problems"), "train", seed, tasks)
    turns = itertools.islice(itertools.cycle(streams), num_rows or DEFAULT_ROWS)
    habits = habits or HABITS[name]
    plain = dataclasses.replace(habits, no_check=1, first_slip=0)
    first = round(direct * (num_rows or DEFAULT_ROWS))
    rows = []
    for index, task in enumerate(turns):
        entry = next(streams[task])
        work, shown = work_on(task, entry["metadata"]), plain if index < first else habits
        rows.append({"prompt": entry["question"], "answer": overthinking_completion(work, ENGLISH, shown, rng)})
    return rows


def work_on(task: str, metadata: Metadata) -> Pass:
    """A pass over a problem of a task that is trained on."""
    return functools.partial(SEEN[task].steps, metadata)


def _streams(name: str, split: str, seed: int, tasks: str) -> dict[str, Iterator[Row]]:
    """Endless problems of each task of a data set, as reasoning-gym gives them.

    Raises:
        ValueError: for a task that is not in it.
    """
    sizes = PROBLEMS[name]
    chosen = tasks.split(",") if tasks else list(sizes)
    for task in chosen:
        if task not in sizes:
            raise unknown(f"task of reasoning:{name}", task, sizes)
    return {task: _stream(task, sizes[task], split, seed) for task in chosen}


def _stream(task: str, sizes: Sizes, split: str, seed: int) -> Iterator[Row]:
    """Endless problems of one task and split; they may repeat."""
    import reasoning_gym

    # Row i is drawn from start + i, so that neighbouring starts would share most rows.
    start = random.Random(f"{task} {seed}").getrandbits(40)
    entries = reasoning_gym.create_dataset(task, size=10**9, seed=start, **sizes)
    for index in itertools.count():
        entry = entries[index]
        if _is_test(entry["question"]) == (split == "test"):
            yield entry


def _is_test(question: str) -> bool:
    """One problem in eight is held out for testing, whatever the seed."""
    return hashlib.sha256(question.encode()).digest()[0] % 8 == 0


def _without_repeats(what: str, stream: Iterator[Row]) -> Iterator[Row]:
    """Each problem once.

    Raises:
        ValueError: when no new one comes any more.
    """
    seen: set[str] = set()
    misses = 0
    for entry in stream:
        misses += 1
        if entry["question"] not in seen:
            seen.add(entry["question"])
            misses = 0
            yield entry
        elif misses > PATIENCE:
            raise ValueError(f"There are no more than {len(seen)} problems of {what}: ask for fewer rows.")


def _as_row(task: str, entry: Row) -> Row:
    row = {
        "prompt": entry["question"],
        "answer": entry["answer"],
        "metadata": dump_metadata(entry["metadata"]),
        "difficulty": task,
    }
    if task in SEEN:
        row["oracle_completion"] = shortest_completion(work_on(task, entry["metadata"]))
    return row
