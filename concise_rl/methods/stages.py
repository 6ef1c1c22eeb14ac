"""Stages: what is done to a rank's judged rollouts, one after another, before the ranks gather them."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, get_args

import torch
from transformers import PreTrainedTokenizerBase

from concise_rl.errors import unknown
from concise_rl.labels.crop import crop
from concise_rl.labels.labeller import Labeller, PassageKind
from concise_rl.reading.passages import count_cues
from concise_rl.reading.trace import Delimiters
from concise_rl.rollout.collect import Judged
from concise_rl.rollout.facts import Fact

UNWRITTEN = "unwritten_prompt"
"""The key under which a row has its prompt as it was before a method wrote into it."""


@dataclass(frozen=True)
class Tools:
    """What a stage may use.

    Attributes:
        delimiters, tokenizer: of the model.
        labeller: what `Label` uses: it says where thinking became redundant; None where no stage labels.
    """

    delimiters: Delimiters
    tokenizer: PreTrainedTokenizerBase
    labeller: Labeller | None = None


class Stage(Protocol):
    """From judged rollouts of a rank to the same with more facts, or changed. A stage that derives from this one says
    only what is not as here."""

    @property
    def facts(self) -> tuple[Fact, ...]:
        """Facts that it adds."""
        return ()

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of the data that it reads beside `prompt` and `answer`."""
        return ()

    def __call__(self, judged: Judged, tools: Tools) -> Judged:
        """Return the rollouts as the next stage is to see them."""
        ...


@dataclass(frozen=True)
class Label(Stage):
    """Marks the tokens thought after the answer was stated, in right rollouts.

    Facts:
        redundant: first redundant token and last + 1, as indices of the completion as it was sampled. Equal where
            there are none, as in all wrong rollouts.
        necessary: share of the passages up to and with the first that states the gold answer. 0 where none does, and in
            wrong rollouts.
        reflections: words of doubt in the thinking, as `wait` and `check`.

    Attributes:
        passage: what the thinking is cut into. `sentence` ends at `.`, `!`, `?` or a line break, and `line` at a line
            break. `chunk` begins at a word of doubt and has several lines (DECS, https://hf.co/papers/2509.25827).
    """

    passage: PassageKind

    def __post_init__(self) -> None:
        if self.passage not in get_args(PassageKind):
            raise unknown("kind of passage", self.passage, get_args(PassageKind))

    facts: ClassVar[tuple[Fact, ...]] = (
        Fact("redundant", 2, torch.int64),
        Fact("necessary"),
        Fact("reflections", dtype=torch.int64),
    )

    def __call__(self, judged: Judged, tools: Tools) -> Judged:
        """See `Stage`."""
        assert tools.labeller is not None, "a run with this stage has a labeller"
        completions = [rollout.ids for rollout in judged.rollouts]
        thinking = [ids[: trace.think_length] for ids, trace in zip(completions, judged.traces, strict=True)]
        labels = tools.labeller.label(judged.rows, completions, judged.traces, judged.earned)
        return judged.knowing(
            redundant=[label.redundant for label in labels],
            necessary=[label.necessary for label in labels],
            reflections=[count_cues(text).total() for text in tools.tokenizer.batch_decode(thinking)],
        )


@dataclass(frozen=True)
class Crop(Stage):
    """Takes the redundant tokens out of right rollouts. Comes after `Label`; answers and verdicts stay."""

    def __call__(self, judged: Judged, tools: Tools) -> Judged:
        """See `Stage`."""
        return crop(judged, tools.delimiters)


@dataclass(frozen=True)
class ProblemKey(Stage):
    """Tells problems apart, by a hash of prompt and answer.

    Facts:
        problem: the same number whenever a problem comes up again in the run.
    """

    facts: ClassVar[tuple[Fact, ...]] = (Fact("problem", dtype=torch.int64),)

    def __call__(self, judged: Judged, tools: Tools) -> Judged:
        """See `Stage`."""
        return judged.knowing(problem=[problem_key(row) for row in judged.rows])


def problem_key(row: Mapping[str, Any]) -> int:
    """Hash the prompt of a row, as it was before a writer, and the answer, to 63 bits. The same on every machine."""
    prompt = row.get(UNWRITTEN, row["prompt"])
    digest = hashlib.sha256(repr((prompt, str(row.get("answer")))).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


@dataclass(frozen=True)
class Column(Stage):
    """Makes a fact of a numeric column of the data.

    Facts:
        NAME: what the column says.

    Attributes:
        name: of the column, and of the fact.
        why: what the method wants of it, for who trains without.
    """

    name: str
    why: str = "the method reads it"

    @property
    def facts(self) -> tuple[Fact, ...]:
        """The column."""
        return (Fact(self.name),)

    @property
    def columns(self) -> tuple[str, ...]:
        """The column."""
        return (self.name,)

    def __call__(self, judged: Judged, tools: Tools) -> Judged:
        """See `Stage`.

        Raises:
            ValueError: where a row has no such number.
        """
        values = [row.get(self.name) for row in judged.rows]
        for value in values:
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise ValueError(f"The data need a column {self.name!r} of numbers, not {value!r}: {self.why}.")
        return judged.knowing(**{self.name: values})
