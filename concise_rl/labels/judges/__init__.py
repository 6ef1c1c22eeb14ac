"""Judges of passages: each says whether a passage of thinking states the gold answer of its row.

A judge is a class with `Options`, a pydantic model of what a recipe's `judge_options` may say, that is built from those
and the run's verifier. One with libraries or models of its own has a module to itself and is imported when it is named.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from pydantic import BaseModel, ConfigDict

from concise_rl.errors import unknown
from concise_rl.named import import_dotted, with_options
from concise_rl.verify.pool import VerifierPool

JUDGES = {
    "rule": "concise_rl.labels.judges.rule.RuleJudge",
    "model": "concise_rl.labels.judges.model.ModelJudge",
    "oracle": "concise_rl.labels.judges.oracle.OracleJudge",
}
"""By name: the verifier on the answers that a passage states; a language model; the truth, for sums alone."""
DEFAULT_JUDGE = "rule"


@dataclass(frozen=True)
class Passage:
    """A passage of thinking.

    Attributes:
        row: the data row, with `prompt`, `answer` and what the verifier reads.
        thinking: all of the thinking, as text.
        start, end: where in it the passage stands, in characters.
    """

    row: Mapping[str, Any]
    thinking: str
    start: int
    end: int

    @property
    def text(self) -> str:
        """The passage."""
        return self.thinking[self.start : self.end]

    @property
    def before(self) -> str:
        """The thinking in front of it."""
        return self.thinking[: self.start]


def problem_of(row: Mapping[str, Any]) -> str:
    """The text of a row's problem: where the prompt is a conversation, `problem`, or else its last turn."""
    prompt = row["prompt"]  # where this is text, `problem` is a column of the data's own
    return prompt if isinstance(prompt, str) else str(row.get("problem", prompt[-1]["content"]))


class JudgeOptions(BaseModel):
    """Base of a judge's options: typed, bounded, documented by the string under each."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class Judge(Protocol):
    """Something that reads passages.

    A class may say in `columns` which columns of the data it reads beside `prompt` and `answer`, as a tuple; one that
    does not gets them all.

    Attributes:
        counters: what happened that is worth a metric, by name; the caller may set them back.
    """

    counters: Counter[str]

    def states(self, passages: Sequence[Passage]) -> list[bool | None]:
        """Whether each passage states the gold answer; None where the judge cannot tell.

        Raises:
            ValueError: for rows that it cannot judge.
            EngineError: when an engine behind it fails.
        """
        ...

    def close(self) -> None:
        """Let go of what it holds. The verifier is the run's and stays."""
        ...


def judge_class(name: str) -> Any:
    """The class called `name`: a key of `JUDGES`, or the dotted path of a class of the user's own.

    Raises:
        ValueError: for an unknown name, naming the nearest, or when the path is not that of a judge.
    """
    if "." not in name and name not in JUDGES:
        raise unknown("judge", name, JUDGES)
    found = import_dotted(JUDGES.get(name, name), "judge")
    options = getattr(found, "Options", None)
    if not (hasattr(found, "states") and isinstance(options, type) and issubclass(options, BaseModel)):
        raise ValueError(
            f"{name} is not a judge: its class needs `states` and `Options`, see concise_rl.labels.judges."
        )
    return found


def judge_options(name: str, options: Mapping[str, Any] | None = None) -> Any:
    """The options of a judge, checked; nothing is loaded.

    Raises:
        ValueError: for an unknown judge or option (naming the nearest), or a value out of bounds.
    """
    return with_options("judge", name, judge_class(name).Options, options)


def build_judge(name: str, options: Mapping[str, Any] | None, verifier: VerifierPool) -> Judge:
    """Build the judge a recipe names; one that is a model is loaded, or its server asked.

    Raises:
        ValueError: see `judge_options`; or when its model is not there.
        EngineError: when its server does not answer.
    """
    return judge_class(name)(judge_options(name, options), verifier)
