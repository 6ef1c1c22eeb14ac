"""Data rows: `prompt` and `answer` as text, wherever they come from, each of them checked before anything runs."""

import logging
import math
import random
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
from rich.console import Console
from rich.progress import track

from concise_rl.errors import unknown
from concise_rl.golds import check_accepted, check_discerns, kinds_of_golds
from concise_rl.sources import Columns, read_source
from concise_rl.verify import VerifierPool

logger = logging.getLogger(__name__)

MAX_LISTED = 5
"""Bad rows that a message lists; the others are counted."""
MAX_UNVERIFIABLE = 0.01
"""Share of rows whose own answer the verifier may refuse."""


def load_rows(
    source: str,
    *,
    split: str = "train",
    num_rows: int | None = None,
    seed: int = 0,
    prompt_column: str = "prompt",
    answer_column: str = "answer",
) -> datasets.Dataset:
    """Load rows with the text columns `prompt` and `answer`; the other columns are kept.

    Args:
        source: a file (.jsonl, .json, .parquet; a file is one split), a `datasets` hub id or folder (`org/name`,
            `org/name:config`), `reasoning_gym:TASK?option=value&...`, `reasoning:NAME` or `tiny:sums`.
        split: `train` or `test`, or what a hub data set calls its splits. Files have none.
        num_rows: how many rows: drawn at random from a file or hub data set and kept in its order, made to measure by
            the generated sources. None takes all, or as many as a generated source makes by default.
        seed: of the draw, or of the generated rows.
        prompt_column: where the prompt stands; a dotted path goes into nested columns, as `messages.0.content`.
        answer_column: the same for the answer, as `reward_model.ground_truth`. A number is written out as text.

    Raises:
        ValueError: for a source that is not there or not understood, and for bad rows, with their numbers and fields.
    """
    if num_rows is not None and num_rows < 1:
        raise ValueError(f"num_rows is {num_rows}; it must be 1 or more, or none for all rows.")
    columns = read_source(source, split, num_rows, seed)
    rows = _checked(columns, source, prompt_column, answer_column)
    if num_rows is None or num_rows == len(rows):
        return rows
    if num_rows > len(rows):
        raise ValueError(f"{source} has {len(rows)} rows, fewer than the num_rows of {num_rows}.")
    return rows.select(sorted(random.Random(seed).sample(range(len(rows)), num_rows)))


def _dig(value: Any, path: Sequence[str]) -> Any:
    """Follow a path through nested objects and lists; None where it ends early."""
    for key in path:
        if isinstance(value, Mapping):
            value = value.get(key)
        elif isinstance(value, list) and key.isdigit() and int(key) < len(value):
            value = value[int(key)]
        else:
            return None
    return value


def _field(columns: Columns, source: str, path: str) -> list[Any]:
    """The values at a dotted path, unchecked. A column may also have dots in its own name."""
    name, *rest = [path] if path in columns.values else path.split(".")
    if name not in columns.values:
        raise unknown(f"column of {source}", path, columns.values)
    values = columns.values[name]
    if not isinstance(values, pa.ChunkedArray):
        return [_dig(value, rest) for value in values]
    narrow = {pa.float32(): np.float32, pa.float16(): np.float16}.get(_type_at(values.type, rest))
    found = [_dig(value, rest) for value in values.to_pylist()]
    return [narrow(value) if narrow and isinstance(value, float) else value for value in found]


def _type_at(kind: pa.DataType, path: Sequence[str]) -> pa.DataType:
    """The type of the values at a path through a column's nested type; of what it ends in, where it ends early."""
    for key in path:
        if pa.types.is_struct(kind) and kind.get_field_index(key) >= 0:
            kind = kind.field(key).type
        elif pa.types.is_list(kind) or pa.types.is_large_list(kind):
            kind = kind.value_type
    return kind


def _answer_fault(value: Any) -> str | None:
    """What is wrong with an answer. An empty one passes: published sets hold a few, which `keep_verifiable` drops."""
    if value is None:
        return "is missing"
    if isinstance(value, bool) or not isinstance(value, str | int | float | np.floating):
        return f"is a {type(value).__name__}, not text"
    return f"is {value}" if isinstance(value, float | np.floating) and not math.isfinite(value) else None


def _as_text(value: Any) -> str:
    """An answer as text. A number as plain digits: no powers of ten, and no more digits than its column holds."""
    return format(Decimal(str(value)), "f") if isinstance(value, float | np.floating) else str(value)


def _prompt_fault(value: Any) -> str | None:
    """What is wrong with a prompt."""
    if value is None:
        return "is missing"
    if not isinstance(value, str):
        return f"is a {type(value).__name__}, not text"
    return None if value.strip() else "is empty"


def _checked(columns: Columns, source: str, prompt: str, answer: str) -> datasets.Dataset:
    """Rows of text prompts and answers, or an error that names the bad ones."""
    if not columns.places:
        raise ValueError(f"{source} has no rows.")
    prompts, answers = _field(columns, source, prompt), _field(columns, source, answer)
    faults = [
        f"{place}: {name!r} {fault}"
        for place, *row in zip(columns.places, prompts, answers, strict=True)
        for name, fault in ((prompt, _prompt_fault(row[0])), (answer, _answer_fault(row[1])))
        if fault
    ]
    if faults:
        raise ValueError(_listing(f"{source} has bad rows", faults))
    values = {**columns.values, "prompt": prompts, "answer": [_as_text(value) for value in answers]}
    return datasets.Dataset.from_dict({name: _arrow(source, name, column) for name, column in values.items()})


def _arrow(source: str, name: str, values: Sequence[Any] | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    if isinstance(values, pa.ChunkedArray):
        return values
    try:
        return pa.array(values)
    except (pa.ArrowException, ValueError, OverflowError) as error:
        raise ValueError(f"{source}: the values of {name!r} do not make one column ({error}).") from error


def _listing(what: str, lines: Sequence[str]) -> str:
    """A message that lists the first few lines and counts the others."""
    more = [f"and {len(lines) - MAX_LISTED} more"] if len(lines) > MAX_LISTED else []
    return "\n  ".join([f"{what}:", *lines[:MAX_LISTED], *more])


def keep_verifiable(
    rows: datasets.Dataset, pool: VerifierPool, tolerated: float = MAX_UNVERIFIABLE
) -> tuple[datasets.Dataset, int]:
    """Drop the rows whose own answer is empty or not accepted by the verifier: no completion could be correct on them.

    The pool's counters start again from zero afterwards: they are for completions.

    Args:
        rows: with text prompts.
        pool: the verifier.
        tolerated: share of the rows that may go.

    Returns:
        The rows that are left, and how many were dropped.

    Raises:
        ValueError: when more of the rows would go, or most answers are words; it lists some, by kind.
    """
    answers = [str(answer) for answer in rows["answer"]]
    items = [(pool.gold_response(row), row) for row in rows]
    chunks = [items[i : i + 256] for i in range(0, len(items), 256)]
    bar = track(chunks, "Checking the answers", console=Console(stderr=True), transient=True, disable=len(chunks) < 4)
    verdicts = [verdict for chunk in bar for verdict in pool.judge(chunk)]
    pool.reset_counters()
    bad = [i for i, verdict in enumerate(verdicts) if verdict != 1.0 or not answers[i].strip()]
    kept = sorted(set(range(len(rows))) - set(bad))
    what = f"The verifier {pool.name!r} does not accept the own answers of {len(bad)} of {len(rows)} rows"
    if len(bad) > tolerated * len(rows):
        kinds = kinds_of_golds(pool, answers, bad)
        raise ValueError("\n  ".join([f"{what}:", *kinds]) + "\nIs it the right verifier, and the right answer column?")
    check_accepted(pool, answers, kept)
    check_discerns(pool, [items[i][1] for i in kept])
    if not bad:
        return rows, 0
    logger.warning("\n  ".join([f"{what}, which are dropped:", *kinds_of_golds(pool, answers, bad)]))
    return rows.select(kept), len(bad)


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
