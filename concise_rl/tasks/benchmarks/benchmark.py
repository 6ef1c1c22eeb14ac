"""What a benchmark is: where its problems are, how they are put, drawn and graded."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Benchmark:
    r"""A set of problems, and how it is usually measured. What a user gives wins over all of it.

    Attributes:
        source: a hub id (`org/name`, `org/name:config`), or a source whose rows are made on the spot.
        revision: the commit of the hub's repository; None where no pin is known, and the newest is taken.
        split: of the source.
        columns: those that a row is made of. A local file that has all of them is read as a copy of the source.
        copies: columns of other published copies, and what makes a problem of their rows; None where the first two
            hold prompt and answer.
        row: makes `prompt`, `answer` and what the verifier reads of a row; None where two columns hold both.
        prompt_column, answer_column: those two, dotted paths among them.
        difficulty_column: what a report breaks its figures down by; None for nothing.
        prompt_template: the user's turn, with `{prompt}` in it; None is the prompt alone.
        system_prompt: None: makers of reasoning models advise against one.
        verifier: a name in `VERIFIERS`.
        samples: of each problem, as published evaluations draw them.
        temperature, top_p: of the sampling.
        max_tokens: cap on completion tokens.
        rows: problems that there should be; another number is said.
        licence: of the data, as its card states it.
        note: what to know before a number is quoted.
    """

    source: str
    rows: int
    licence: str
    note: str
    verifier: str = "math"
    revision: str | None = None
    split: str = "test"
    columns: tuple[str, ...] = ()
    copies: Mapping[tuple[str, ...], Callable[[Row], Row] | None] = field(default_factory=dict)
    row: Callable[[Row], Row] | None = None
    prompt_column: str = "problem"
    answer_column: str = "answer"
    difficulty_column: str | None = None
    prompt_template: str | None = None
    system_prompt: None = None
    samples: int = 4
    temperature: float = 0.6
    top_p: float = 0.95
    max_tokens: int = 32_768

    @property
    def needed(self) -> tuple[str, ...]:
        """Columns without which a file is no copy of the source."""
        return self.columns or tuple(path.split(".")[0] for path in (self.prompt_column, self.answer_column))
