"""Fields of data rows: what a dotted path leads to, what is wrong with it, and how a number is written out."""

import math
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from concise_rl.data.sources import Columns
from concise_rl.errors import unknown

TURNS = {"content": "role", "value": "from"}
"""Fields that hold the text of a chat's turn, and those beside them that say whose turn it is."""
OTHERS = ("system", "developer", "assistant", "gpt", "tool")
"""Who has a turn that is no prompt."""
NAMED_BY = "A recipe names its columns by prompt_column and answer_column, an evaluation by --prompt-column and so on."


class Field(NamedTuple):
    """A column, and a path into it."""

    name: str
    rest: list[str]
    column: list[Any]
    kind: pa.DataType | None
    """The column's type, where it has one."""

    @property
    def values(self) -> list[Any]:
        """What stands at the path in each row, unchecked."""
        return [dig(value, self.rest) for value in self.column]


def find_field(columns: Columns, source: str, path: str) -> Field:
    """Follow a dotted path to a column. A column may also have dots in its own name."""
    name, *rest = [path] if path in columns.values else path.split(".")
    if name not in columns.values:
        raise ValueError(f"{unknown(f'column of {source}', path, columns.names)} {NAMED_BY}")
    values = columns.values[name]
    stored = isinstance(values, pa.ChunkedArray)
    return Field(name, rest, values.to_pylist() if stored else list(values), values.type if stored else None)


def dig(value: Any, path: Sequence[str]) -> Any:
    """Follow a path through nested objects and lists; None where it ends early."""
    for key in path:
        if isinstance(value, Mapping):
            value = value.get(key)
        elif isinstance(value, list) and key.isdigit() and int(key) < len(value):
            value = value[int(key)]
        else:
            return None
    return value


def answer_fault(value: Any) -> str | None:
    """What is wrong with an answer. An empty one passes: published sets hold a few, which `keep_verifiable` drops."""
    if value is None:
        return "is missing"
    if isinstance(value, str | np.integer) or (isinstance(value, int) and not isinstance(value, bool)):
        return None
    if not isinstance(value, float | Decimal | np.floating):
        return f"is a {type(value).__name__}, not text"
    return None if math.isfinite(value) else f"is {value}"


def prompt_fault(value: Any) -> str | None:
    """What is wrong with a prompt."""
    if value is None:
        return "is missing"
    if turn_path(value):
        return "is a list of messages, not text"
    if not isinstance(value, str):
        return f"is a {type(value).__name__}, not text"
    return None if value.strip() else "is empty"


def turn_path(chat: Any) -> str | None:
    """Where in a list of messages the user's first turn stands, as `1.content`; None where there is none."""
    messages = chat if isinstance(chat, list) else []
    for i, message in enumerate(messages):
        for text, role in TURNS.items():
            if isinstance(message, Mapping) and text in message and message.get(role) in ("user", "human"):
                return f"{i}.{text}"
    return None


def answer_text(value: Any, kind: pa.DataType | None) -> str:
    """A checked answer as text; numbers as plain decimals, the shortest that mean them in `kind`."""
    if isinstance(value, float | np.floating):
        own: Any = np.float64 if isinstance(value, float) else type(value)
        width: Any = kind.to_pandas_dtype() if kind is not None and pa.types.is_floating(kind) else own
        text = np.format_float_positional(width(value), trim="-")
        return "0" if text == "-0" else text
    if isinstance(value, Decimal):
        return _decimal_text(value)
    return str(value)


def _decimal_text(value: Decimal) -> str:
    text = f"{value:f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text == "-0" else text


def kind_at(kind: pa.DataType | None, path: Sequence[str]) -> pa.DataType | None:
    """The type at a path that leads to a value in some row."""
    for key in path:
        if kind is not None:
            kind = kind.field(key).type if pa.types.is_struct(kind) else getattr(kind, "value_type", None)
    return getattr(kind, "value_type", kind)  # of a dictionary's
