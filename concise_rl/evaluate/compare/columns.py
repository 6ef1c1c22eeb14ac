"""The columns of a comparison: one list for the terminal, Markdown, the page and `--sort`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from concise_rl.evaluate import text

Entry = Mapping[str, Any]


@dataclass(frozen=True)
class Column:
    """One number of each method.

    Attributes:
        title: as its head.
        value: of a method's entry in the report; None where it has none.
        write: the number as people read it.
        interval: the 95 % interval, where there is one.
        write_end: one end of the interval.
        smallest_first: whether small numbers are good.
    """

    title: str
    value: Callable[[Entry], float | None]
    write: Callable[[float | None], str]
    interval: Callable[[Entry], tuple[float, float] | None] = lambda entry: None
    write_end: Callable[[float], str] = text.bare_percent
    smallest_first: bool = False

    def sort_key(self, entry: Entry) -> tuple[bool, float, str]:
        """Put the best first, what has no number last, equal ones by name."""
        value = self.value(entry)
        if value is None:
            return True, 0.0, entry["label"]
        return False, value if self.smallest_first else -value, entry["label"]


def _estimate(name: str, part: str = "value") -> Callable[[Entry], Any]:
    return lambda entry: None if entry[name] is None else entry[name][part]


def _redundant(part: str) -> Callable[[Entry], Any]:
    return lambda entry: entry["overthinking"]["redundant_tokens"][part]


def _underthinking(part: str) -> Callable[[Entry], Any]:
    return lambda entry: entry["underthinking"] and entry["underthinking"]["stopped_short"][part]


def _on_front(entry: Entry) -> float | None:
    """Return the share of the resamples in which it is on the front."""
    front = entry["front"]
    return None if front is None else front["share"]


COLUMNS: dict[str, Column] = {
    "accuracy": Column("accuracy", lambda e: e["accuracy"], text.percent, lambda e: e["accuracy_ci95"]),
    "tokens": Column(
        "tokens", lambda e: e["tokens"], text.tokens, lambda e: e["tokens_ci95"], text.tokens, smallest_first=True
    ),
    "saved": Column("tokens saved", _estimate("token_savings"), text.percent, _estimate("token_savings", "ci95")),
    "change": Column(
        "accuracy change", _estimate("accuracy_change"), text.points, _estimate("accuracy_change", "ci95"), text.points
    ),
    "aes": Column("AES", lambda e: e["aes"], text.score),
    "redundant": Column(
        "redundant", _redundant("value"), text.tokens, _redundant("ci95"), text.tokens, smallest_first=True
    ),
    "short": Column(
        "stopped short", _underthinking("value"), text.percent, _underthinking("ci95"), smallest_first=True
    ),
    "oracle": Column("x oracle", lambda e: e["oracle_ratio"], text.ratio, smallest_first=True),
    "front": Column("on front", _on_front, lambda share: text.percent(share, digits=0)),
}
"""By the names that `--sort` takes, in the order in which they are shown."""
NEEDS_BASELINE = ("saved", "change", "aes")
DEFAULTS = {True: "aes", False: "accuracy"}
"""The column that sorts, with a baseline and without."""


def shown_columns(report: Mapping[str, Any]) -> dict[str, Column]:
    """Find the columns in which any label of the report has a number. One model alone has no front to stand to."""
    entries = text.all_entries(report)
    shown = {n: column for n, column in COLUMNS.items() if any(column.value(entry) is not None for entry in entries)}
    return {name: column for name, column in shown.items() if name != "front" or len(entries) > 1}
