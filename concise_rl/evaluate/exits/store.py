"""Probes on disk: what was read behind places of stored thinking, and the answers that were forced there.

One JSON line holds one look, or one ending, at places of one sample. A later line adds places to those of an earlier.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from concise_rl.evaluate.samples import Sample
from concise_rl.evaluate.spec import ModelRun
from concise_rl.rollout.exits.policy import Ending, Look, Reading

Place = tuple[int, int]
"""Number of a problem, and of one of its samples."""
TAIL = 4
"""Tokens at the end of a prompt that are kept: they say whether it opens the thinking."""


class _Stored(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, ser_json_inf_nan="constants")


class StoredAnswer(_Stored):
    """An answer forced at a place.

    Attributes:
        at: thinking tokens before the place.
        ids: sampled behind what closes the thinking, EOS included; none where that holds the answer.
        finished: ended by an EOS.
        correct: verdict; 0 where it did not end, None where it could not be graded.
    """

    at: int = Field(ge=0)
    ids: tuple[int, ...]
    finished: bool
    correct: int | None = Field(ge=0, le=1)


class Probes(_Stored):
    """One line: of one sample, either the readings of a look or the answers behind an ending.

    Attributes:
        problem, sample: whose thinking it is.
        length, think_length: tokens of that sample: probes of another are told by these.
        prompt_length, prompt_tail: tokens of its prompt, which a probe has before the thinking, and the last of them.
    """

    problem: int = Field(ge=0)
    sample: int = Field(ge=0)
    length: int = Field(ge=1)
    think_length: int = Field(ge=0)
    prompt_length: int = Field(ge=0)
    prompt_tail: tuple[int, ...] = Field(max_length=TAIL)
    look: Look | None = None
    readings: tuple[Reading, ...] = ()
    ending: Ending | None = None
    answers: tuple[StoredAnswer, ...] = ()

    @model_validator(mode="after")
    def _is_of_one_kind(self) -> "Probes":
        if (self.look is None) == (self.ending is None):
            raise ValueError("a line holds the readings of a look, or the answers behind an ending")
        if self.look is None and self.readings:
            raise ValueError("readings belong to a look")
        if self.ending is None and self.answers:
            raise ValueError("answers belong to an ending")
        return self


@dataclass
class Known:
    """All that is known of one sample's thinking.

    Attributes:
        prompt_length, prompt_tail: tokens of its prompt, and the last of them.
        readings: of each look, by place.
        answers: behind each ending, by place.
    """

    prompt_length: int
    prompt_tail: tuple[int, ...]
    readings: dict[Look, dict[int, Reading]] = field(default_factory=dict)
    answers: dict[Ending, dict[int, StoredAnswer]] = field(default_factory=dict)

    def add(self, line: Probes) -> None:
        """Take in one line."""
        if line.look is not None:
            self.readings.setdefault(line.look, {}).update({one.at: one for one in line.readings})
        if line.ending is not None:
            self.answers.setdefault(line.ending, {}).update({one.at: one for one in line.answers})


def probes_path(folder: Path, run: ModelRun) -> Path:
    """Say where the probes of a run's samples lie in the evaluation's folder."""
    return folder / "probes" / run.samples_path(folder).name


def append_probes(path: Path, lines: Sequence[Probes]) -> None:
    """Add whole lines to the file; they are on disk when this returns."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        file.write("".join(line.model_dump_json(exclude_defaults=True) + "\n" for line in lines).encode())
        file.flush()
        os.fsync(file.fileno())


def read_probes(path: Path) -> Iterator[Probes]:
    """Yield every complete line. No file holds none; a last line without its newline is passed over.

    Raises:
        ValueError: for a line that is no probe, named by file and line.
    """
    if not path.exists():
        return
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.endswith(b"\n"):
                return
            try:
                yield Probes.model_validate_json(line)
            except ValidationError as error:
                first = error.errors()[0]
                where = ".".join(map(str, first["loc"])) or "line"
                raise ValueError(
                    f"{path}, line {number}: {where}: {first['msg']}. Delete the line to have it probed again."
                ) from error


def known_probes(path: Path, samples: Iterable[Sample]) -> dict[Place, Known]:
    """Collect a file's probes by the samples that they are of.

    Raises:
        ValueError: when a line is of none of the samples, or of another sample of that number.
    """
    there = {(sample.problem, sample.sample): sample for sample in samples}
    known: dict[Place, Known] = {}
    for line in read_probes(path):
        place = (line.problem, line.sample)
        sample = there.get(place)
        if sample is None or (sample.length, sample.think_length) != (line.length, line.think_length):
            raise ValueError(
                f"{path}: problem {line.problem}, sample {line.sample} is not the one that was probed. The samples "
                f"have been drawn again: delete {path}."
            )
        known.setdefault(place, Known(line.prompt_length, line.prompt_tail)).add(line)
    return known
