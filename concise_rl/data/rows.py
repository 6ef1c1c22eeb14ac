"""Data rows: `prompt` and `answer` as text, wherever they come from, each of them checked before anything runs."""

import logging
import random
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import datasets
import pyarrow as pa
from rich.console import Console
from rich.progress import track

from concise_rl.data.fields import (
    OTHERS,
    TURNS,
    Field,
    answer_fault,
    answer_text,
    dig,
    find_field,
    kind_at,
    prompt_fault,
    turn_path,
)
from concise_rl.data.sources import Columns, read_source
from concise_rl.labels.judges import judge_class
from concise_rl.verify.golds import check_accepted, check_discerns, kinds_of_golds
from concise_rl.verify.pool import VerifierPool
from concise_rl.verify.verifiers import columns_of

logger = logging.getLogger(__name__)

MAX_LISTED = 5
"""Bad rows that a message lists; the others are counted."""
MAX_UNVERIFIABLE = 0.01
"""Share of rows whose own answer the verifier may refuse."""
CHUNK = 256
"""Rows that are Python objects at one time while all of them are looked at."""
FEW = 3
"""Rows that may ask the same without a word about it."""
MANY = 0.1
"""Share of the rows that may ask the same without a word about it."""


def columns_read(verifier: str, *judges: str) -> set[str] | None:
    """Columns that a verifier and judges read beside `prompt` and `answer`; None where one of them may read any.

    Args:
        verifier: its name or dotted path.
        judges: the same.

    Raises:
        ValueError: for an unknown verifier or judge, or columns that are declared as something else than names.
    """
    readers = {verifier: columns_of(verifier)} | {
        judge: getattr(judge_class(judge), "columns", None) for judge in judges
    }
    for name, columns in readers.items():
        if isinstance(columns, str) or not all(isinstance(column, str) for column in columns or ()):
            raise ValueError(f"{name} declares columns = {columns!r}: give their names as a tuple, ('level',) say.")
    declared = [columns for columns in readers.values() if columns is not None]
    return {name for columns in declared for name in columns} if len(declared) == len(readers) else None


def load_rows(
    source: str,
    *,
    split: str = "train",
    num_rows: int | None = None,
    seed: int = 0,
    prompt_column: str = "prompt",
    answer_column: str = "answer",
    columns: Collection[str] | None = None,
) -> datasets.Dataset:
    """Load rows with the text columns `prompt` and `answer`.

    Args:
        source: a file (.jsonl, .json, .parquet; a file is one split), a `datasets` hub id or folder (`org/name`,
            `org/name:config`), `reasoning_gym:TASK?option=value&...`, `reasoning:NAME` or `tiny:sums`.
        split: `train` or `test`, or what a hub data set calls its splits. Files have none.
        num_rows: how many rows: drawn at random from a file or hub data set and kept in its order, made to measure by
            the generated sources. None takes all, or as many as a generated source makes by default.
        seed: of the draw, or of the generated rows.
        prompt_column: where the prompt stands; a dotted path goes into nested columns, as `messages.0.content`.
        answer_column: the same for the answer, as `reward_model.ground_truth`. A number is written out as text, as the
            shortest plain decimal that its type tells apart from others.
        columns: other columns to keep, where the source has them; no more are read. None keeps all, except those that
            cannot be stored, of which a warning tells.

    Raises:
        ValueError: for a source that is not there or not understood, for bad rows, with their numbers and fields, and
            where the prompt's path leads to a turn that is not the user's.
    """
    if num_rows is not None and num_rows < 1:
        raise ValueError(f"num_rows is {num_rows}; it must be 1 or more, or none for all rows.")
    roots = {root for path in (prompt_column, answer_column) for root in (path, path.split(".")[0])}
    read = read_source(source, split, num_rows, seed, None if columns is None else {*columns, *roots})
    rows = _checked(read, source, prompt_column, answer_column, columns)
    return rows if num_rows in (None, len(rows)) else _drawn(rows, source, num_rows, seed)


def _drawn(rows: datasets.Dataset, source: str, num_rows: int, seed: int) -> datasets.Dataset:
    """Draw so many rows, in their order.

    Raises:
        ValueError: where there are fewer.
    """
    if num_rows > len(rows):
        raise ValueError(
            f"{source} has {len(rows)} rows, fewer than the {num_rows} that were asked for (--problems, or a recipe's "
            "num_rows)."
        )
    return rows.select(sorted(random.Random(seed).sample(range(len(rows)), num_rows)))


def _checked(columns: Columns, source: str, prompt: str, answer: str, kept: Collection[str] | None) -> datasets.Dataset:
    """Rows of text prompts and answers, or an error that names the bad ones."""
    if not columns.places:
        raise ValueError(f"{source} has no rows.")
    asked, told = find_field(columns, source, prompt), find_field(columns, source, answer)
    prompts, answers = asked.values, told.values
    faults = [
        f"{place}: {name!r} {fault}"
        for place, *row in zip(columns.places, prompts, answers, strict=True)
        for name, fault in ((prompt, prompt_fault(row[0])), (answer, answer_fault(row[1])))
        if fault
    ]
    if faults:
        turn = next((turn for turn in map(turn_path, prompts) if turn), None)
        hint = f"\nThe prompt is text: to ask a user's turn, give the prompt column as {prompt}.{turn}." if turn else ""
        raise ValueError(listing(f"{source} has bad rows", faults) + hint)
    kind = kind_at(told.kind, told.rest)
    texts = [answer_text(value, kind) for value in answers]
    _check_turns(asked, source, prompt, columns.places)
    others = {name: values for name, values in columns.values.items() if kept is None or name in kept}
    return datasets.Dataset.from_dict(_arrow(source, {**others, "prompt": prompts, "answer": texts}, kept))


def _check_turns(field: Field, source: str, path: str, places: Sequence[str]) -> None:
    """
    Raises:
        ValueError: when the prompts are turns of others than the user.
    """
    if not field.rest or field.rest[-1] not in TURNS:
        return
    roles = [dig(value, [*field.rest[:-1], TURNS[field.rest[-1]]]) for value in field.column]
    wrong = [i for i, role in enumerate(roles) if role in OTHERS]
    if not wrong:
        return
    users = turn_path(dig(field.column[wrong[0]], field.rest[:-2]))
    hint = f"Give the prompt column as {'.'.join([field.name, *field.rest[:-2]])}.{users}." if users else ""
    if len(wrong) < len(roles):
        hint = "The user's turn must stand at one place in all rows."
    raise ValueError(
        f"{source}: {path!r} is a turn of the role {roles[wrong[0]]!r}, not the user's, in {len(wrong)} of "
        f"{len(roles)} rows (the first is {places[wrong[0]]}). {hint}"
    )


def _arrow(
    source: str, values: Mapping[str, Sequence[Any] | pa.ChunkedArray], kept: Collection[str] | None
) -> dict[str, pa.Array | pa.ChunkedArray]:
    """Columns as they are stored. One that cannot be is left out, unless it was asked for."""
    stored = {}
    for name, column in values.items():
        try:
            array = column if isinstance(column, pa.ChunkedArray) else pa.array(column)
            datasets.Features.from_arrow_schema(pa.schema([(name, array.type)]))  # knows not all of Arrow's types
            stored[name] = array
        except (pa.ArrowException, ValueError, OverflowError) as error:
            what = f"{source}: the values of {name!r} do not make one column ({error})"
            if kept is not None or name in ("prompt", "answer"):
                raise ValueError(f"{what}.") from error
            logger.warning("%s, which is left out.", what)
    return stored


def listing(what: str, lines: Sequence[str]) -> str:
    """A message that lists the first few lines and counts the others."""
    more = [f"and {len(lines) - MAX_LISTED} more"] if len(lines) > MAX_LISTED else []
    return "\n  ".join([f"{what}:", *lines[:MAX_LISTED], *more])


def check_prompts(rows: datasets.Dataset, source: str, column: str) -> None:
    """Warn of one text that many rows ask.

    Args:
        rows: as `load_rows` gives them.
        source, column: where their prompts come from, for the message.

    Raises:
        ValueError: when all of more than a few rows do, and expect different answers.
    """
    text, count = Counter(rows["prompt"]).most_common(1)[0]
    if count <= max(FEW, MANY * len(rows)):
        return
    said = f"{source}: {column!r} is the same text in {count} of {len(rows)} rows: {text[:100]!r}."
    if count == len(rows) and len(set(rows["answer"])) > 1:
        raise ValueError(f"{said} Give the column of the problems as the prompt column.")
    logger.warning("%s Is it the column of the problems?", said)


def keep_verifiable(
    rows: datasets.Dataset, pool: VerifierPool, tolerated: float = MAX_UNVERIFIABLE
) -> tuple[datasets.Dataset, int]:
    """Drop the rows that `find_unverifiable` finds.

    Returns:
        The rows that are left, and how many were dropped.

    Raises:
        ValueError: as `find_unverifiable` does.
    """
    bad = find_unverifiable(rows, pool, tolerated)
    return (rows.select(sorted(set(range(len(rows))) - set(bad))), len(bad)) if bad else (rows, 0)


def find_unverifiable(rows: datasets.Dataset, pool: VerifierPool, tolerated: float = MAX_UNVERIFIABLE) -> list[int]:
    """Find the rows whose own answer is empty or not accepted by the verifier: no completion could be correct on them.

    The pool's counters start again from zero afterwards: they are for completions.

    Args:
        rows: with text prompts.
        pool: the verifier.
        tolerated: share of the rows that may be such.

    Returns:
        Their numbers; a warning lists some.

    Raises:
        ValueError: when more of the rows are such, or most answers are words; it lists some, by kind.
    """
    starts = range(0, len(rows), CHUNK)
    bar = track(starts, "Checking the answers", console=Console(stderr=True), transient=True, disable=len(starts) < 4)
    chunks = (rows.select(range(start, min(start + CHUNK, len(rows)))).to_list() for start in bar)
    accepted = [
        verdict == pool.own_verdict and bool(row["answer"].strip())
        for chunk in chunks
        for row, verdict in zip(chunk, pool.judge([(pool.gold_response(row), row) for row in chunk]), strict=True)
    ]
    pool.reset_counters()
    answers = rows["answer"][:]
    kept, bad = ([i for i, fine in enumerate(accepted) if fine is wanted] for wanted in (True, False))
    what = f"The verifier {pool.name!r} does not accept the own answers of {len(bad)} of {len(rows)} rows"
    if len(bad) > tolerated * len(rows):
        kinds = kinds_of_golds(pool, answers, bad)
        raise ValueError("\n  ".join([f"{what}:", *kinds]) + "\nIs it the right verifier, and the right answer column?")
    check_accepted(pool, answers, kept)
    check_discerns(pool, rows.select(kept))
    if bad:
        logger.warning("\n  ".join([f"{what}, which are dropped:", *kinds_of_golds(pool, answers, bad)]))
    return bad


def user_turn(prompt_template: str | None) -> str:
    """The template of the user's turn, which is the prompt alone unless one is given.

    Raises:
        ValueError: when the template has no `{prompt}`.
    """
    template = "{prompt}" if prompt_template is None else prompt_template
    if "{prompt}" not in template:
        raise ValueError(f"The prompt template {template!r} has no {{prompt}}: every row would ask the same.")
    return template


def to_messages(
    rows: datasets.Dataset, prompt_template: str | None = None, system_prompt: str | None = None
) -> datasets.Dataset:
    """Turn the text prompts into conversations, as TRL and chat templates take them; the text stays in `problem`, and
    takes the place of a column that is called so.

    Args:
        rows: with text prompts.
        prompt_template: the user's turn, with `{prompt}` where the prompt goes; None is the prompt alone.
        system_prompt: a system turn before it; None is no such turn.

    Raises:
        ValueError: when the template has no `{prompt}`.
    """
    template = user_turn(prompt_template)
    opening = [] if system_prompt is None else [{"role": "system", "content": system_prompt}]
    # Not str.format: templates and prompts hold braces of their own (\boxed{}).
    conversations = [
        [*opening, {"role": "user", "content": template.replace("{prompt}", text)}] for text in rows["prompt"]
    ]
    text = rows.remove_columns([name for name in rows.column_names if name == "problem"])  # a data set's own
    return text.rename_column("prompt", "problem").add_column("prompt", conversations)
