"""The oracle: sums worked out by hand, and traces whose making says where the answer comes."""

import json
import random
from typing import Any

import pytest

from concise_rl.labels.judges import Passage, build_judge
from concise_rl.tasks.reasoning.overthinking import Habits
from concise_rl.tasks.tiny import load_problems
from concise_rl.tasks.tiny.traces import overthinking_completion
from concise_rl.verify.pool import VerifierPool

ORACLE = build_judge("oracle", None, VerifierPool("reasoning_gym"))


def row_of(expression: str, answer: str) -> dict[str, Any]:
    return {
        "prompt": "?",
        "answer": answer,
        "metadata": json.dumps({"source_dataset": "chain_sum", "expression": expression}),
    }


ROW = row_of("3 + 4 - 9", "-2")


def stated(*passages: str, row: dict[str, Any] = ROW) -> list[bool | None]:
    """What the oracle says of passages that follow on each other."""
    thinking, found, start = "".join(passages), [], 0
    for passage in passages:
        found.append(Passage(row, thinking, start, start + len(passage)))
        start += len(passage)
    return ORACLE.states(found)


def test_the_last_line_of_a_pass_states_its_total() -> None:
    assert stated("3 + 4 = 7\n", "7 - 9 = -2\n", "So -2.\n") == [False, True, True]


def test_a_total_on_the_way_that_equals_the_answer_does_not_state_it() -> None:
    row = row_of("3 + 4 - 5 + 5", "7")
    assert stated("3 + 4 = 7\n", "7 - 5 = 2\n", "2 + 5 = 7\n", row=row) == [False, False, True]


def test_a_pass_that_slipped_does_not_state_the_answer_and_a_later_one_does() -> None:
    wrong, right = "3 + 4 = 8\n8 - 9 = -1\nSo -1.\n", "Wait, let me check.\n3 + 4 = 7\n7 - 9 = -2\nNo, -2.\n"
    assert stated(wrong, right) == [False, True]


def test_a_pass_may_begin_in_an_earlier_passage() -> None:
    assert stated("3 + 4 ", "= 7\n7 -", " 9 = -2", "\n") == [False, False, True, False]


def test_a_verdict_names_the_answer_only_after_a_whole_pass() -> None:
    assert stated("So -2.\n", "3 + 4 = 7\n", "7 - 9 = -1\n", "No, -2.\n") == [False, False, False, True]


def test_lines_that_skip_a_term_are_no_pass() -> None:
    row = row_of("3 + 4 + 0", "7")
    assert stated("3 + 4 = 7\n", "So 7.\n", row=row) == [False, False]


def test_an_unfinished_pass_may_be_begun_again() -> None:
    assert stated("3 + 4 = 7\n", "Wait, let me check.\n", "3 + 4 = 7\n7 - 9 = -2\n") == [False, False, True]


def test_sums_in_words_are_read_too() -> None:
    lines = ("3 plus 4 is 7.\n", "7 minus 9 is -2.\n", "So the answer is -2.\n", "Yes, that gives -2 again.\n")
    assert stated(*lines) == [False, True, True, True]


@pytest.mark.parametrize("problem", load_problems("train", 20), ids=lambda row: row["metadata"][20:50])
def test_a_trace_without_slips_states_the_answer_with_the_last_line_of_its_first_pass(problem: dict) -> None:
    expression = json.loads(problem["metadata"])["expression"]
    direct = overthinking_completion(expression, random.Random(0), Habits(0.0, 0.0, no_check=1.0))
    lines = direct.split("</think>")[0].splitlines(keepends=True)
    habits = Habits(first_slip=0.0, check_slip=0.0, no_check=0.0)
    thinking = overthinking_completion(expression, random.Random(1), habits).split("</think>")[0]
    assert stated(*thinking.splitlines(keepends=True), row=problem).index(True) == len(lines) - 1


@pytest.mark.parametrize(
    "row", [{"prompt": "?", "answer": "1"}, {"prompt": "?", "answer": "1", "metadata": '{"source_dataset": "gcd"}'}]
)
def test_a_row_that_is_no_sum_is_an_error(row: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="knows sums as in tiny:sums alone: take `rule` or `model`"):
        stated("3 + 4 = 7\n", row=row)
