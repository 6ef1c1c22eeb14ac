"""Benchmarks as data: copies of their files, in the columns of the hub or prepared for training."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from concise_rl.data.rows import keep_verifiable, load_rows
from concise_rl.verify.pool import VerifierPool

SHARED = Path(__file__).parents[4] / "shared" / "data"
MATH = {"problem": "What is 1 + 1?", "answer": "2", "level": 3, "subject": "Algebra"}


def written(path: Path, *rows: Any) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def shared(name: str) -> str:
    if not (SHARED / name).is_file():
        pytest.skip(f"the benchmark file {name} is not here")
    return str(SHARED / name)


def test_a_copy_in_the_columns_of_the_hub_gives_problems_with_their_difficulty(tmp_path: Path) -> None:
    rows = load_rows(f"math500={written(tmp_path / 'm.jsonl', MATH)}", columns=["difficulty"])
    assert rows.to_list() == [{"difficulty": 3, "prompt": "What is 1 + 1?", "answer": "2"}]


def test_a_prepared_copy_gives_the_problem_without_the_instruction_behind_it(tmp_path: Path) -> None:
    asked = "Find $x$.\nSay it in \\boxed{}. Please reason step by step, and put your final answer within \\boxed{}."
    row = {"prompt": [{"role": "user", "content": asked}], "reward_model": {"ground_truth": "7"}}
    rows = load_rows(f"aime24={written(tmp_path / 'a.jsonl', row)}", columns=[])
    assert rows.to_list() == [{"prompt": "Find $x$.\nSay it in \\boxed{}.", "answer": "7"}]


@pytest.mark.parametrize(
    ("name", "file", "count"),
    [("math500", "math500.parquet", 500), ("aime24", "aime2024.parquet", 30), ("amc23", "amc23.parquet", 40)],
)
def test_the_prepared_files_are_read_whole_and_ask_for_no_form(
    name: str, file: str, count: int, caplog: pytest.LogCaptureFixture
) -> None:
    rows = load_rows(f"{name}={shared(file)}", columns=[])
    assert len(rows) == count and not any("step by step" in prompt for prompt in rows["prompt"])
    assert not caplog.records


def test_answers_of_a_copy_with_worked_solutions_verify() -> None:
    rows = load_rows(f"gsm8k={shared('gsm8k_rationales.jsonl')}", num_rows=40, columns=[])
    with VerifierPool("math", workers=1) as pool:
        assert keep_verifiable(rows, pool, tolerated=0.0) == (rows, 0)


def test_another_number_of_problems_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        load_rows(f"math500={written(tmp_path / 'm.jsonl', MATH)}")
    assert "math500 has 500 problems" in caplog.text and "has 1." in caplog.text


def test_other_columns_are_refused_and_named(tmp_path: Path) -> None:
    source = f"gpqa_diamond={written(tmp_path / 'g.jsonl', MATH)}"
    with pytest.raises(ValueError, match="problem, answer, level, subject; a copy of Idavidrein/gpqa:gpqa_diamond has"):
        load_rows(source)


def test_a_row_of_which_no_problem_can_be_made_is_named_by_its_line(tmp_path: Path) -> None:
    rows = [{"question": "1?", "answer": "#### 1"}, {"question": "2?", "answer": "none"}, {"question": "3?"}]
    with pytest.raises(ValueError, match=r"line 2: no problem can be made of it: 'answer' has no number"):
        load_rows(f"gsm8k={written(tmp_path / 'g.jsonl', *rows)}")


def test_numbers_of_a_copy_are_answers_as_text(tmp_path: Path) -> None:
    rows = [{"problem": "a?", "answer": 142.0}, {"problem": "b?", "answer": 7.0}]
    assert load_rows(f"amc83={written(tmp_path / 'a.jsonl', *rows)}")["answer"][:] == ["142", "7"]


def test_unseen_puzzles_are_made_in_the_number_that_is_asked_for() -> None:
    rows = load_rows("knights", split="test", num_rows=3)
    assert len(rows) == 3 and {"prompt", "answer", "metadata"} <= set(rows.column_names)
