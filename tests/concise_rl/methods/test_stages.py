from typing import Any

import pytest

from concise_rl.methods import UNWRITTEN, Column, Judged, ProblemKey, Rollout, StopReason, Tools, problem_key
from concise_rl.reading.trace import Delimiters, read_trace

DELIMITERS = Delimiters((7,), frozenset({0}))
NOBODY: Any = None
TOOLS = Tools(DELIMITERS, NOBODY)


def judged(*rows: dict[str, Any]) -> Judged:
    rollout = Rollout([1, 7, 2, 0], StopReason.EOS, 4)
    return Judged(
        list(rows),
        [[5]] * len(rows),
        [rollout] * len(rows),
        [read_trace(rollout.ids, DELIMITERS)] * len(rows),
        [1.0] * len(rows),
    )


def test_a_problem_has_the_same_key_whenever_it_comes_up() -> None:
    row = {"prompt": [{"role": "user", "content": "2 + 2?"}], "answer": "4"}
    (first,), (again,) = (ProblemKey()(judged(dict(row)), TOOLS).facts["problem"] for _ in range(2))
    assert first == again == problem_key(row) and 0 <= first < 2**63


def test_problems_that_differ_in_the_prompt_or_the_answer_are_told_apart() -> None:
    rows = [{"prompt": "a", "answer": "1"}, {"prompt": "b", "answer": "1"}, {"prompt": "a", "answer": "2"}]
    assert len(set(ProblemKey()(judged(*rows), TOOLS).facts["problem"])) == 3


def test_what_a_method_writes_into_a_prompt_does_not_change_its_problem() -> None:
    row = {"prompt": "2 + 2?", "answer": "4"}
    assert problem_key({**row, "prompt": "2 + 2? Think for 9 tokens.", UNWRITTEN: row["prompt"]}) == problem_key(row)


def test_a_column_of_numbers_is_a_fact() -> None:
    stage = Column("rate")
    assert stage(judged({"rate": 0.5}, {"rate": 1}), TOOLS).facts == {"rate": [0.5, 1]}
    assert [fact.name for fact in stage.facts] == ["rate"]


@pytest.mark.parametrize("row", [{}, {"rate": None}, {"rate": "0.5"}, {"rate": True}])
def test_a_row_without_the_number_is_named_with_what_the_method_wants_of_it(row: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"need a column 'rate' of numbers.*how often the model solves it"):
        Column("rate", "how often the model solves it")(judged(row), TOOLS)
