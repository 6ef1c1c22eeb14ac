"""Rows of benchmarks, from the hub's columns to prompt and answer."""

import json
from typing import Any

import pytest

from concise_rl.tasks.benchmarks import BENCHMARKS, find_benchmark
from concise_rl.tasks.benchmarks.rows import (
    boxed_row,
    gpqa_row,
    gsm8k_row,
    livecodebench_row,
    mmlu_pro_row,
    olympiad_row,
)
from concise_rl.verify.verifiers import find_verifier

GPQA = {
    "Question": "Which one is a gas?\n",
    "Correct Answer": "helium\n",
    **{f"Incorrect Answer {n}": text for n, text in ((1, "iron"), (2, "gold"), (3, "salt"))},
}
LCB: dict[str, Any] = {
    "question_content": "Print the sum.",
    "starter_code": "",
    "public_test_cases": "[]",
    "private_test_cases": "[]",
    "metadata": "{}",
}


def test_every_benchmark_names_a_verifier_and_a_template_that_holds_the_problem() -> None:
    for name, one in BENCHMARKS.items():
        assert find_verifier(one.verifier), name
        assert one.prompt_template is None or "{prompt}" in one.prompt_template
        assert one.revision is None or len(one.revision) == 40
        assert one.licence and one.note.endswith(".")


def test_a_name_and_a_name_with_a_file_are_found_and_other_sources_are_not() -> None:
    assert find_benchmark("math500") == ("math500", BENCHMARKS["math500"], None)
    assert find_benchmark("gsm8k=a=b.jsonl") == ("gsm8k", BENCHMARKS["gsm8k"], "a=b.jsonl")
    assert find_benchmark("org/math500") is find_benchmark("runs/x=y.jsonl") is find_benchmark("tiny:sums") is None


@pytest.mark.parametrize(("source", "message"), [("math50=a.jsonl", "'math500'"), ("gsm8k=", "gsm8k=FILE")])
def test_a_name_that_is_nearly_one_or_has_no_file_is_refused(source: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        find_benchmark(source)


@pytest.mark.parametrize(
    ("text", "answer"),
    [("6 + 7 = 13 #### no\n#### 2,125", "2125"), ("It is\n#### -3.5 ", "-3.5"), ("1,024", "1024"), ("#### $18", "$18")],
)
def test_the_answer_of_gsm8k_is_the_number_behind_its_last_mark(text: str, answer: str) -> None:
    assert gsm8k_row({"question": "How many?", "answer": text}) == {"prompt": "How many?", "answer": answer}


def test_a_rationale_without_a_number_at_its_end_is_refused() -> None:
    with pytest.raises(ValueError, match="no number behind ####"):
        gsm8k_row({"question": "How many?", "answer": "I do not know."})


def test_the_answer_of_a_worked_solution_is_its_only_box() -> None:
    row = {"problem": r"A \boxed{1} of the prompt.", "solution": r"So \boxed{8.7e8}."}
    assert boxed_row(row)["answer"] == "8.7e8"
    with pytest.raises(ValueError, match="2 different"):
        boxed_row({**row, "solution": r"\boxed{1} or \boxed{2}"})


def test_several_final_answers_become_one_list_and_the_error_a_tolerance() -> None:
    row = {"question": "Find all.", "context": None, "final_answer": ["$1$", "$2$"], "error": "1e-1"}
    assert olympiad_row(row) == {"prompt": "Find all.", "answer": "$1$, $2$", "answer_tolerance": "0.1"}
    assert olympiad_row({**row, "error": None})["answer_tolerance"] is None


def test_the_order_of_options_follows_from_the_question_and_not_from_that_of_the_columns() -> None:
    first = gpqa_row(GPQA)
    turned = {**GPQA, "Incorrect Answer 1": "salt", "Incorrect Answer 3": "iron"}
    assert first == gpqa_row(turned)
    assert f"{first['answer']}. helium" in first["prompt"]


def test_the_right_option_stands_at_each_letter_of_some_question() -> None:
    letters = [gpqa_row({**GPQA, "Question": f"Question {i}"})["answer"] for i in range(400)]
    assert all(60 < letters.count(letter) < 140 for letter in "ABCD")


def test_an_option_that_is_right_and_wrong_is_refused() -> None:
    with pytest.raises(ValueError, match="helium"):
        gpqa_row({**GPQA, "Incorrect Answer 2": "helium"})


def test_ten_options_stand_in_the_prompt_with_letters_up_to_j() -> None:
    row = {"question": "Which?", "options": [f"option {i}" for i in range(10)], "answer": "J", "answer_index": 9}
    assert mmlu_pro_row(row)["prompt"].endswith("\nJ. option 9") and mmlu_pro_row(row)["answer"] == "J"
    with pytest.raises(ValueError, match="'answer_index' 8"):
        mmlu_pro_row({**row, "answer_index": 8})
    with pytest.raises(ValueError, match="no letter of 3 options"):
        mmlu_pro_row({**row, "options": ["a", "b", "c"]})


def test_a_program_is_asked_for_by_stdin_or_by_starter_code() -> None:
    assert "stdin" in livecodebench_row(LCB)["prompt"]
    called = livecodebench_row({**LCB, "starter_code": "class Solution:", "metadata": '{"func_name": "add"}'})
    assert "class Solution:" in called["prompt"] and "stdin" not in called["prompt"]
    assert json.loads(called["tests"])["function"] == "add"
