"""What is read of another tool's log, whatever its format."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from concise_rl.reading.trace import StopReason

OWN = "concise_rl"
"""Under this name an exported log keeps what its format has no place for."""
RIGHT = {"C": 1.0, "I": 0.0, "N": 0.0}
"""Verdicts as letters: correct, incorrect, no answer."""
_HALF = re.compile("[\ud800-\udfff]")
ACCEPTED = "accepts `--regrade VERIFIER` (math, say), which grades the answers again"


@dataclass(frozen=True)
class Wanted:
    """What a user wants of a log.

    Attributes:
        scorer: name of the score that says right or wrong; None for the only one there is.
        regrade: whether the answers are graded again, so that the log's own verdicts are not read.
    """

    scorer: str | None = None
    regrade: bool = False


@dataclass(frozen=True)
class Logged:
    """One completion of a log.

    Attributes:
        problem: what the log calls its problem.
        number: which of the problem's samples it is.
        prompt: what was asked, as text.
        golds: the right answers, any of which will do; none where the log has none.
        text: what the model wrote; behind the thinking, where the log keeps that apart.
        thinking: the thinking, where the log keeps it apart.
        ids: tokens, where the log has them.
        tokens, think_tokens: how many were sampled, in all and of thinking; None where the log does not say.
        stop: why it ended; None where the log does not say.
        verdict: 1 or 0; None where nobody could tell, or the answers are to be graded again.
        fault: why there is nothing to count, in a few words: an error, a time limit. None for all others.
    """

    problem: str
    number: int
    prompt: str
    golds: tuple[str, ...]
    text: str
    thinking: str | None = None
    ids: tuple[int, ...] | None = None
    tokens: int | None = None
    think_tokens: int | None = None
    stop: StopReason | None = None
    verdict: float | None = None
    fault: str | None = None

    @property
    def place(self) -> str:
        """Name it in a message."""
        return f"problem {self.problem!r}, sample {self.number}"


@dataclass(frozen=True)
class Log:
    """What a log says of one model.

    Attributes:
        format: a name in `FORMATS`.
        files: what was read.
        task, model: what the log calls them; the tasks of several files are one here.
        logged: its completions, in its order.
        scorer: whose verdicts they have; None where the answers are to be graded again.
        max_tokens, temperature, top_p, top_k: of the sampling; None where the log does not say.
        versions: of the packages that sampled.
        short: how many samples the log itself says are missing.
    """

    format: str
    files: tuple[Path, ...]
    task: str
    model: str
    logged: Sequence[Logged]
    scorer: str | None
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    short: int = 0

    def check_texts(self) -> None:
        """Make sure that texts can be written to a file.

        Raises:
            ValueError: for half a character, of which JSON holds the code and no file the text.
        """
        for one in self.logged:
            texts = "".join((one.prompt, one.text, one.thinking or "", *one.golds))
            if _HALF.search(texts):
                raise ValueError(f"{self.name}: {one.place} holds half a character (a lone surrogate): mend the log.")

    @property
    def name(self) -> str:
        """Name it in a message."""
        first, *others = self.files
        return f"{first} and {len(others)} more" if others else str(first)


def choose_score(scores: Mapping[str, Any], wanted: Wanted, place: str) -> str:
    """Find the name of the score that says right or wrong.

    Args:
        scores: of one sample, by name.
        wanted: may name one.
        place: names the sample in a message.

    Raises:
        ValueError: when there is none, several and none is named, or none of that name.
    """
    listed = ", ".join(map(repr, scores))
    if not scores:
        raise ValueError(f"{place} has no score. `concise-rl import` {ACCEPTED}.")
    if wanted.scorer is None and len(scores) > 1:
        raise ValueError(f"{place} has several scores, {listed}: say which one is right or wrong with --scorer.")
    if wanted.scorer is not None and wanted.scorer not in scores:
        raise ValueError(f"{place} has no score {wanted.scorer!r}, but {listed}.")
    return wanted.scorer or next(iter(scores))


def as_verdict(value: Any, name: str, place: str) -> float | None:
    """Read a score as a verdict: 1, 0, or None for NaN and null, by which tools say that they could not tell.

    Raises:
        ValueError: for a share of right, or another thing that is neither right nor wrong.
    """
    if value is None or value != value:
        return None
    found = RIGHT.get(value) if isinstance(value, str) else value
    if isinstance(found, bool | int | float) and found in (0, 1):
        return float(found)
    raise ValueError(
        f"{place}: the score {name!r} is {value!r}, neither right (1, 'C') nor wrong (0, 'I'). Name another with "
        f"--scorer; `concise-rl import` also {ACCEPTED}."
    )


def asked(messages: Sequence[Mapping[str, Any]]) -> str:
    """Write what was asked: the text of the only message before the model's, or all of them with their roles.

    Args:
        messages: a conversation, each with `role` and `content`.
    """
    before = []
    for message in messages:
        if message["role"] == "assistant":
            break
        before.append((message["role"], text_of(message["content"])))
    if len(before) == 1:
        return before[0][1]
    return "\n\n".join(f"{role}: {text}" for role, text in before)


def text_of(content: Any) -> str:
    """Return the text of a message, given as one or in parts. What is no text is left out."""
    if not isinstance(content, list):
        return str(content or "")
    return "".join(part.get("text") or "" for part in content if part.get("type") == "text")


def thinking_of(content: Any) -> str | None:
    """Return the thinking of a message whose content has parts for it; None where it has none.

    None too where a server shows no more than a summary, or keeps the thinking to itself: the text is another then.
    """
    parts = [part for part in content if part.get("type") == "reasoning"] if isinstance(content, list) else []
    shown = [part.get("reasoning") or "" for part in parts if not part.get("redacted")]
    return "".join(shown) if shown and len(shown) == len(parts) and any(shown) else None


def first_line_has(path: Path, *names: str) -> bool:
    """Say whether the first line of a file holds all of these fields."""
    if path.suffix != ".jsonl" or not path.is_file():
        return False
    with path.open("rb") as file:
        line = file.readline()
    return all(f'"{name}"'.encode() in line for name in names)


def common(values: Sequence[Any]) -> Any:
    """Return the value that all have; None where they differ, or there is none."""
    return values[0] if values and all(value == values[0] for value in values) else None
