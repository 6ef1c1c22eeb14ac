"""Read the best accuracy that is known at each token budget, which a user gives to compare with."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from concise_rl.files import write_atomically

FRONTIER = "frontier.json"
"""Name of the copy in an evaluation's folder: the report stays a function of that folder alone."""


@dataclass(frozen=True)
class Frontier:
    """The best accuracy known at each token budget.

    Attributes:
        tokens: budgets, ascending.
        accuracy: at each, 0 to 1.
    """

    tokens: tuple[int, ...]
    accuracy: tuple[float, ...]


def stored_frontier(folder: Path) -> Frontier | None:
    """Read the copy in an evaluation's folder; None where there is none.

    Raises:
        ValueError: see `read_frontier`.
    """
    path = folder / FRONTIER
    return read_frontier(path) if path.is_file() else None


def store_frontier(path: Path, folder: Path) -> None:
    """Keep a copy of a frontier in an evaluation's folder, in place of the one there.

    Raises:
        ValueError: see `read_frontier`.
    """
    read_frontier(path)
    write_atomically(folder / FRONTIER, path.read_bytes())


def read_frontier(path: Path) -> Frontier:
    """Read a frontier: a JSON list of objects, each with `tokens` (a whole number) and `accuracy` (0 to 1).

    Raises:
        ValueError: when the file is not there, or holds something else.
    """
    if not path.is_file():
        raise ValueError(f"There is no file {path}. A frontier is a JSON list of {{tokens, accuracy}}.")
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is no JSON ({error}). A frontier is a JSON list of {{tokens, accuracy}}.") from error
    if not isinstance(rows, list) or len(rows) < 2:
        raise ValueError(f"{path}: a frontier is a JSON list of two or more {{tokens, accuracy}}.")
    points = sorted(_point(row, path, number) for number, row in enumerate(rows))
    tokens, accuracy = zip(*points, strict=True)
    if len(set(tokens)) < len(tokens):
        raise ValueError(f"{path}: two points of the frontier have the same tokens. Leave one of them out.")
    return Frontier(tokens, accuracy)


def _point(row: Any, path: Path, number: int) -> tuple[int, float]:
    fields = row if isinstance(row, dict) else {}
    tokens, accuracy = fields.get("tokens"), fields.get("accuracy")
    if set(fields) != {"tokens", "accuracy"} or isinstance(tokens, bool) or not isinstance(tokens, int) or tokens < 0:
        raise ValueError(f"{path}, row {number}: give tokens (a whole number) and accuracy, and nothing else.")
    if isinstance(accuracy, bool) or not isinstance(accuracy, int | float) or not 0 <= accuracy <= 1:
        raise ValueError(f"{path}, row {number}: accuracy is {accuracy!r}; it is a share from 0 to 1.")
    return tokens, float(accuracy)
