"""Read the problems that are measured, with the columns that samples take over."""

from collections.abc import Collection

import pyarrow as pa
from datasets import Dataset

from concise_rl.data.rows import check_prompts, load_rows
from concise_rl.evaluate.spec import Measurement


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_null(kind) or any(
        of_text(kind) for of_text in (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
    )


def _is_scalar(kind: pa.DataType) -> bool:
    return _is_text(kind) or pa.types.is_integer(kind) or pa.types.is_floating(kind)


TAKEN_OVER = {"difficulty": (_is_scalar, "numbers or text"), "oracle_completion": (_is_text, "text")}
"""Columns that samples take over, where the data has them; what they may hold."""


def measured_rows(measurement: Measurement, columns: Collection[str] | None) -> Dataset:
    """Load the problems of a measurement, those included that its verifier will not accept.

    Args:
        measurement: says where they are.
        columns: to read beside the prompt, the answer and what a sample takes over; None for all.

    Raises:
        ValueError: when they are not there, or not usable.
    """
    rows = load_rows(
        measurement.task,
        split=measurement.split,
        num_rows=measurement.problems,
        seed=measurement.seed,
        prompt_column=measurement.prompt_column,
        answer_column=measurement.answer_column,
        columns=None if columns is None else {*columns, *TAKEN_OVER},
    )
    check_prompts(rows, measurement.task, measurement.prompt_column)
    for name, (fits, what) in TAKEN_OVER.items():
        if name in rows.column_names and not fits(kind := rows.data.schema.field(name).type):
            raise ValueError(f"{measurement.task}: the column {name!r} holds {kind}, not {what}. Rename or drop it.")
    return rows
