"""Grade the answers of a log again, by a verifier of this project."""

from collections.abc import Mapping, Sequence
from typing import Any

from concise_rl.data.rows import columns_read
from concise_rl.evaluate.exchange.log import Logged
from concise_rl.verify.pool import VerifierPool

Row = Mapping[str, Any]


def rows_of(task: str, problems: Sequence[Logged], verifier: str) -> list[Row]:
    """Find the row of a task that each problem is of: what the problem asks is the row's prompt, or holds it.

    Args:
        task: a data set with the golds, as `--task` takes it.
        problems: a sample of each.
        verifier: whose columns are read.

    Raises:
        ValueError: when the task is not there, or a problem is of no row, or might be of several.
    """
    from concise_rl.evaluate.defaults import settle
    from concise_rl.evaluate.rows import measured_rows
    from concise_rl.evaluate.spec import Measurement

    fields: dict[str, Any] = settle(task, {"verifier": verifier}) | {"problems": None}
    rows = list(measured_rows(Measurement(**fields), columns_read(verifier)))
    exact: dict[str, list[Row]] = {}
    for row in rows:
        exact.setdefault(row["prompt"].strip(), []).append(row)
    return [_row_of(one, exact, task) for one in problems]


def _row_of(one: Logged, exact: Mapping[str, Sequence[Row]], task: str) -> Row:
    asked = one.prompt.strip()
    held = [exact[asked]] if asked in exact else [rows for prompt, rows in exact.items() if prompt and prompt in asked]
    found = [row for rows in held for row in rows]
    if len({row["answer"] for row in found}) != 1:
        what = f"might be of {len(found)} rows" if found else "is of no row"
        raise ValueError(f"Problem {one.problem!r} of the log, {one.prompt[:80]!r}, {what} of {task}.")
    return found[0]


def golds_of(one: Logged, row: Row | None) -> tuple[str, ...]:
    """Return the right answers to a problem: those of its task's row, where it has one; else the log's own.

    Raises:
        ValueError: when nobody knows any.
    """
    golds = (row["answer"],) if row is not None else tuple(gold for gold in one.golds if gold.strip())
    if not golds:
        raise ValueError(f"{one.place}: the log holds no right answer. Give a data set that has them with --task.")
    return golds


def regrade(
    answers: Sequence[str | None], golds: Sequence[Sequence[str]], rows: Sequence[Row], pool: VerifierPool
) -> list[float | None]:
    """Grade answers as an evaluation does.

    Args:
        answers: what stands behind the thinking; None where nothing does, or the completion was cut: these are wrong.
        golds: the right answers to each, any of which will do.
        rows: what else the verifier reads of each problem.
        pool: the verifier.

    Returns:
        1 where any gold is met, else None where the verifier could not tell of any, else 0.
    """
    items = [
        (answer, {**row, "answer": gold})
        for answer, own, row in zip(answers, golds, rows, strict=True)
        if answer is not None
        for gold in own
    ]
    verdicts = iter(pool.judge(items))
    return [
        0.0 if answer is None else _best([next(verdicts) for _ in own])
        for answer, own in zip(answers, golds, strict=True)
    ]


def _best(verdicts: Sequence[float | None]) -> float | None:
    if 1.0 in verdicts:
        return 1.0
    return None if None in verdicts else 0.0
