"""Read how far a training is, from what it writes: `metrics.jsonl` and its log."""

import json
import os
import re
import signal
from dataclasses import dataclass
from pathlib import Path

from concise_rl.evaluate.text import percent, tokens
from concise_rl.files import METRICS_FILE

TAIL = 1 << 16
"""Bytes of the end of a file that are read; a line of metrics has about 2,000."""
SIGNALS = 128
"""Exit statuses above this are those of signals."""
_ERROR = re.compile(r"^(error: .+|[\w.]*(Error|Exception|Interrupt)\b.*)", re.MULTILINE)


@dataclass(frozen=True)
class Progress:
    """The last logged step of a run.

    Attributes:
        step: its number; 0 before the first.
        accuracy: share of its rollouts that are right.
        tokens: mean length of its rollouts.
    """

    step: int = 0
    accuracy: float | None = None
    tokens: float | None = None

    def __str__(self) -> str:
        shown = [
            "" if self.accuracy is None else f"accuracy {percent(self.accuracy)}",
            "" if self.tokens is None else f"{tokens(self.tokens)} tokens",
        ]
        return ", ".join(filter(None, shown))


def read_progress(folder: Path) -> Progress:
    """Read the last step that a run has logged. A line that is still being written does not count."""
    for line in reversed(_tail(folder / METRICS_FILE).split("\n")[:-1]):
        step = json.loads(line) if line.startswith("{") and line.endswith("}") else {}
        if "loss" in step:
            return Progress(step["step"], step.get("correct/mean"), step.get("length/mean"))
    return Progress()


def last_error(log: Path, start: int = 0, status: int = 1) -> str:
    """Say why a training ended: the last line of its log that names an error, else the signal that killed it, else the
    last line.

    Args:
        log: what it has said.
        start: byte at which this training's part of the log begins.
        status: with which it ended; above 128 that of a signal.
    """
    text = _tail(log, start)
    lines = [line.strip() for line in re.split(r"[\r\n]+", text) if line.strip()]
    named = [match[0].strip() for match in _ERROR.finditer(text.replace("\r", "\n"))]
    if not named and status > SIGNALS:
        return f"killed by {signal.Signals(status - SIGNALS).name}"
    return (named or lines or ["it has said nothing"])[-1]


def _tail(path: Path, start: int = 0) -> str:
    """Read the end of a file, without what stands before `start`; empty where there is no file."""
    if not path.is_file():
        return ""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(start, size - TAIL))
        return file.read().decode(errors="replace")
