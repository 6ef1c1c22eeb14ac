"""Samples on disk: one JSON line for each completion. Everything else about an evaluation is computed from them."""

import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from concise_rl.files import drop_torn_line
from concise_rl.reading.trace import StopReason
from concise_rl.rollout.cost import Cost

MEASURES = ("reflections", "states_answer", "necessary_prefix", "redundant_tokens", "overshoot")
"""What a sample's thinking says about overthinking, see `Sample.measures`."""
TARGET_MEASURES = ("missed_by", "within_target")
"""What a sample's length says about the target in its prompt, see `Sample.measures`."""
COST_MEASURES = tuple(Cost.model_fields)
"""What was spent on a sample besides its text, see `Cost`."""

logger = logging.getLogger(__name__)


class ThinkingLabels(BaseModel):
    """Say where the thinking of a correct sample first states the gold answer, and how much of it comes after.

    Attributes:
        passages: chunks of the thinking.
        first: index of the first of them that states the gold answer; None where none does.
        redundant: thinking tokens after that chunk; 0 where there is none.
        overshoot: thinking tokens after the line, within that chunk, that first states it; `redundant` where no single
            line does.
        redundant_at: character of the sample's text at which the redundant tokens begin. None where there are none,
            and in files from before it was kept.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    passages: int = Field(ge=0)
    first: int | None = Field(ge=0)
    redundant: int = Field(ge=0)
    overshoot: int = Field(ge=0)
    redundant_at: int | None = Field(None, ge=0)

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> "ThinkingLabels":
        if self.first is None and (self.redundant or self.overshoot):
            raise ValueError("nothing is redundant in thinking that never states the answer")
        if self.first is not None and self.first >= self.passages:
            raise ValueError(f"passage {self.first} is none of {self.passages}")
        if self.overshoot < self.redundant:
            raise ValueError(f"overshoot is {self.overshoot}, less than the {self.redundant} redundant tokens in it")
        if self.redundant_at is not None and not self.redundant:
            raise ValueError(f"redundant_at is {self.redundant_at}, but no token is redundant")
        return self


class Sample(BaseModel):
    """One completion of one problem, graded.

    Attributes:
        problem, sample: position of the problem in the task, and of the completion among its problem's.
        prompt_hash: sha256 of the prompt's token ids, or of its text where another tool sampled: two models are
            compared only where these agree.
        prompt, gold: the problem and its answer, as text.
        completion_ids: tokens, EOS included. None where another tool sampled and kept no more than their number.
        text: the completion as text, without the EOS that ended it.
        length, think_length: tokens in all, and before the closing think delimiter; the latter None where another tool
            did not count them.
        sampled: tokens that the model sampled; the others were forced. None in files from before anything was forced.
        stop_reason: label of a `StopReason`.
        finished: ended by an EOS.
        correct: verdict on the answer: 1, 0, or None where it could not be graded or the sample was given up.
        answer: text after the closing delimiter; None without exactly one delimiter, and then `correct` is 0. None too
            where the sample was given up (`stop_reason` aborted). Where another tool found an answer without that, it
            is the whole text.
        difficulty: the task's own measure, where it has one.
        oracle_length: tokens of the shortest sufficient completion, EOS included, where it is known.
        reflections: cues of reflection in the thinking. None where it was given up, and in files from before cues were
            counted.
        labels: where the thinking first states the gold answer. None where `correct` is not 1 or no judge has read it.
        facts: numbers that were written into the prompt, by name: a target of tokens, say. Left out of the file where
            there are none, as in those from before anything was written into prompts.
        log_id: what the log calls the problem that an imported sample is of. Left out of the file for all others.
        cost: what an exit spent on it besides its text. Left out of the file where nothing was.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    problem: int = Field(ge=0)
    sample: int = Field(ge=0)
    prompt_hash: str
    prompt: str
    gold: str
    completion_ids: list[int] | None
    text: str
    length: int = Field(ge=1)
    think_length: int | None = Field(ge=0)
    sampled: int | None = Field(None, ge=0)
    stop_reason: str
    finished: bool
    correct: int | None = Field(ge=0, le=1)
    answer: str | None
    difficulty: int | float | str | None = None
    oracle_length: int | None = None
    reflections: int | None = Field(None, ge=0)
    labels: ThinkingLabels | None = None
    facts: dict[str, float] = Field(default_factory=dict)
    log_id: str | None = None
    cost: Cost | None = None

    @field_validator("stop_reason")
    @classmethod
    def _is_known(cls, label: str) -> str:
        known = [reason.label for reason in StopReason]
        if label not in known:
            raise ValueError(f"{label!r} is none of {', '.join(known)}")
        return label

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> "Sample":
        if self.completion_ids is not None and self.length != len(self.completion_ids):
            raise ValueError(f"length is {self.length}, but there are {len(self.completion_ids)} completion_ids")
        if self.completion_ids is not None and self.think_length is None:
            raise ValueError("think_length is missing: where there are completion_ids it can be counted")
        if self.think_length is not None and self.think_length > self.length:
            raise ValueError(f"think_length is {self.think_length}, but length is {self.length}")
        if self.sampled is not None and self.sampled > self.length:
            raise ValueError(f"{self.sampled} tokens were sampled, but length is {self.length}")
        if self.stop_reason == StopReason.ABORTED.label:
            if self.finished or self.answer is not None or self.correct is not None:
                raise ValueError("a completion that was given up has no end, no answer and no verdict")
        elif self.answer is None and self.correct != 0:
            raise ValueError("a completion without an answer must be wrong (correct: 0)")
        if self.labels and self.correct != 1:
            raise ValueError("labels are for correct completions")
        if self.labels and self.labels.overshoot > (self.think_length or 0):
            raise ValueError(f"overshoot is {self.labels.overshoot}, but think_length is {self.think_length}")
        if self.labels and (self.labels.redundant_at or 0) > len(self.text):
            raise ValueError(f"redundant_at is {self.labels.redundant_at}, but the text ends at {len(self.text)}")
        return self

    @property
    def ids(self) -> list[int]:
        """Return the tokens.

        Raises:
            ValueError: where another tool sampled, and kept no more than their number.
        """
        if self.completion_ids is None:
            raise ValueError(
                f"Problem {self.problem}, sample {self.sample} was imported without its tokens, of which only the "
                "number is known: sample the model with `concise-rl eval` to work on them."
            )
        return self.completion_ids

    @property
    def thinking_ids(self) -> list[int]:
        """Return the tokens of its thinking.

        Raises:
            ValueError: see `ids`.
        """
        return self.ids[: self.think_length]

    @property
    def measures(self) -> dict[str, float]:
        """Return what is known, by the names in `MEASURES`, `TARGET_MEASURES` and `COST_MEASURES`; what is not known is
        left out."""
        known = self._of_target() | {
            name: float(n) for name, n in (self.cost.model_dump() if self.cost else {}).items()
        }
        if self.reflections is not None:
            known["reflections"] = float(self.reflections)
        if self.labels is None:
            return known
        known["states_answer"] = float(self.labels.first is not None)
        if self.labels.first is None:
            return known
        return known | {
            "necessary_prefix": (self.labels.first + 1) / self.labels.passages,
            "redundant_tokens": float(self.labels.redundant),
            "overshoot": float(self.labels.overshoot),
        }

    def _of_target(self) -> dict[str, float]:
        target = self.facts.get("target")
        if target is None or self.stop_reason == StopReason.ABORTED.label:
            return {}
        return {"missed_by": abs(self.length - target), "within_target": float(self.length <= target)}


def append_samples(path: Path, samples: Sequence[Sample]) -> None:
    """Add whole lines to the file; they are on disk when this returns."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = "".join(sample.model_dump_json(exclude=_left_out(sample)) + "\n" for sample in samples)
    with path.open("ab") as file:
        file.write(lines.encode())
        file.flush()
        os.fsync(file.fileno())


def _left_out(sample: Sample) -> set[str]:
    """Name the fields that say nothing of a sample, and which older files do not have."""
    return {name for name in ("facts", "log_id", "cost") if not getattr(sample, name)}


def read_samples(path: Path) -> Iterator[Sample]:
    """Yield the samples of every complete line, in the order of the file. No file holds no samples.

    A last line without its newline was being written when the run was interrupted, and is passed over.

    Raises:
        ValueError: a line that is no sample, or a second one of the same (problem, sample), named by file and line.
    """
    if not path.exists():
        return
    lines: dict[tuple[int, int], int] = {}
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.endswith(b"\n"):
                return
            sample = _parse(line, path, number)
            first = lines.setdefault((sample.problem, sample.sample), number)
            if first != number:
                raise ValueError(
                    f"{path}, line {number}: problem {sample.problem}, sample {sample.sample} is in line {first} too. "
                    "Were two evaluations writing here at once? Delete the file to sample this model again."
                )
            yield sample


def _parse(line: bytes, path: Path, number: int) -> Sample:
    try:
        return Sample.model_validate_json(line)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"])) or "line"
        raise ValueError(
            f"{path}, line {number}: {field}: {first['msg']}. Delete the line to have it sampled again."
        ) from error


def cut_torn_line(path: Path) -> None:
    """Cut off a last line that was never finished, so that the next one starts on a line of its own."""
    if torn := drop_torn_line(path):
        logger.warning("%s: cut off a last line of %d bytes that an interrupted run left unfinished.", path, torn)
