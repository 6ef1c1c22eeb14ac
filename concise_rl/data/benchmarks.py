r"""Rows of benchmarks as `prompt` and `answer`: from the columns of the hub, or those of a prepared copy.

Prepared copies are those of verl's kind: `prompt` is a conversation that ends in an instruction, and
`reward_model.ground_truth` the answer (verl examples/data_preprocess).
"""

import functools
import re
from collections.abc import Callable, Iterable, Sequence

from concise_rl.tasks.benchmarks import Benchmark, Row

PREPARED = ("prompt", "reward_model")
"""Columns by which a prepared copy is known."""
_INSTRUCTION = re.compile(
    r"\s*(?:Please reason step by step|Let's think step by step)[^\n]{0,80}(?:\\boxed\{\}|\"####\")[^\n]{0,4}\s*$"
)
"""What asks for the form of the answer behind a problem. The benchmark's own template asks for it."""


def problems_of(
    benchmark: Benchmark, source: str, names: Sequence[str], rows: Iterable[tuple[str, Row]]
) -> list[tuple[str, Row]]:
    """Make rows of `prompt`, `answer` and all other columns.

    Args:
        benchmark: says what its columns are.
        source: for messages.
        names: of the columns.
        rows: of the source, and what messages call each.

    Raises:
        ValueError: for other columns, naming them, and for a row of which no problem can be made.
    """
    make = _maker(benchmark, source, names)
    made = []
    for place, row in rows:
        try:
            problem = make(row)
        except (ValueError, TypeError, KeyError, AttributeError, IndexError) as error:
            raise ValueError(f"{source}, {place}: no problem can be made of it: {error}.") from error
        difficulty = benchmark.difficulty_column
        level = {"difficulty": row[difficulty]} if difficulty and row.get(difficulty) is not None else {}
        made.append((place, {**row, **level, **problem}))
    return made


def _maker(benchmark: Benchmark, source: str, names: Sequence[str]) -> Callable[[Row], Row]:
    """Say how a row becomes a problem, by the columns that there are.

    Raises:
        ValueError: when they are neither those of the hub nor those of a prepared copy.
    """
    if set(PREPARED) <= set(names):
        return _prepared
    for columns, row in ((benchmark.needed, benchmark.row), *benchmark.copies.items()):
        if set(columns) <= set(names):
            return row or functools.partial(_plain, columns)
    known = "; ".join(", ".join(columns) for columns in (benchmark.needed, *benchmark.copies, PREPARED))
    raise ValueError(
        f"{source} has the columns {', '.join(names)}; a copy of {benchmark.source} has {known}. Give a file with "
        "other columns by its own name, and say --prompt-column and --answer-column."
    )


def _plain(columns: Sequence[str], row: Row) -> Row:
    return {"prompt": row[columns[0]], "answer": row[columns[1]]}


def _prepared(row: Row) -> Row:
    """Take the last turn of the user, without the instruction behind it.

    Raises:
        ValueError: for a conversation without one.
    """
    turns = [turn["content"] for turn in row["prompt"] if turn["role"] == "user"]
    if not turns:
        raise ValueError("'prompt' has no turn of the user")
    return {"prompt": _INSTRUCTION.sub("", turns[-1]), "answer": row["reward_model"]["ground_truth"]}
