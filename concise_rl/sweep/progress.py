"""How far a training is, from what it writes: `metrics.jsonl` and its log."""

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path

TAIL = 1 << 16
"""Bytes of the end of a file that are read; a line of metrics has about 2,000."""
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
            "" if self.accuracy is None else f"accuracy {self.accuracy:.1%}",
            "" if self.tokens is None else f"{self.tokens:.1f} tokens",
        ]
        return ", ".join(filter(None, shown))


def read_progress(folder: Path) -> Progress:
    """The last step that a run has logged. A line that is still being written does not count."""
    for line in reversed(_tail(folder / "metrics.jsonl").split("\n")[:-1]):
        step = json.loads(line) if line.startswith("{") and line.endswith("}") else {}
        if "loss" in step:
            return Progress(step["step"], step.get("correct/mean"), step.get("length/mean"))
    return Progress()


def last_error(log: Path, start: int = 0) -> str:
    """Why a training ended: the last line of its log that names an error, else the last line.

    Args:
        log: what it has said.
        start: byte at which this training's part of the log begins.
    """
    text = _tail(log, start)
    lines = [line.strip() for line in re.split(r"[\r\n]+", text) if line.strip()]
    named = [match[0].strip() for match in _ERROR.finditer(text.replace("\r", "\n"))]
    return (named or lines or ["it has said nothing"])[-1]


def _tail(path: Path, start: int = 0) -> str:
    """The end of a file, without what stands before `start`; empty where there is no file."""
    if not path.is_file():
        return ""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(start, size - TAIL))
        return file.read().decode(errors="replace")
