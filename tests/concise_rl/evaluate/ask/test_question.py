"""What is asked."""

import json
from pathlib import Path

import pytest

from concise_rl.data.rows import load_rows
from concise_rl.evaluate.ask.question import check_gold, default_task, own_question, question_of_task
from concise_rl.evaluate.spec import Measurement
from concise_rl.tasks.tiny import WEIGHTS
from concise_rl.verify.pool import VerifierPool

SENTENCE = "State the final answer to the following arithmetic problem:"
SUMS = Measurement(task="tiny:sums", verifier="reasoning_gym", seed=3)


@pytest.mark.parametrize("text", ["4 - 5 + 2", "4-5+2", "4 - 5 + 2 = ?", f"{SENTENCE} 4 - 5 + 2 ="])
def test_a_bare_sum_is_put_in_the_words_that_the_reasoner_knows_and_worked_out(text: str) -> None:
    question = own_question(text, None, knows_sums=True)
    assert (question.text, question.gold) == (f"{SENTENCE} 4 - 5 + 2 =", "1")


def test_other_models_are_asked_as_it_is_written() -> None:
    question = own_question("4-5+2", None, knows_sums=False)
    assert (question.text, question.gold) == ("4-5+2", None)


@pytest.mark.parametrize("text", ["What is 3 times 4?", "3 + 4", "-3 + 4 - 2"])
def test_what_the_reasoner_does_not_know_is_said(text: str, caplog: pytest.LogCaptureFixture) -> None:
    own_question(text, "12", knows_sums=True)
    assert "expect nonsense" in caplog.text


def test_a_question_of_a_task_is_the_row_of_that_number() -> None:
    question = question_of_task(SUMS, 4)
    row = load_rows("tiny:sums", split="test", num_rows=8, seed=3)[4]
    assert (question.text, question.gold, question.index) == (row["prompt"], row["answer"], 4)


def test_a_number_that_the_task_does_not_have_is_named_with_those_that_it_has(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text('{"prompt": "1 + 1?", "answer": "2"}\n{"prompt": "1 + 2?", "answer": "3"}\n')
    measurement = Measurement(task=str(file))
    assert question_of_task(measurement, 1).gold == "3"
    with pytest.raises(ValueError, match="has 2 questions: --index is one of 0 to 1"):
        question_of_task(measurement, 2)


def test_the_task_is_that_of_the_model_where_it_is_known(tmp_path: Path) -> None:
    run = tmp_path / "run"
    (run / "checkpoint-40").mkdir(parents=True)
    (run / "recipe.json").write_text(json.dumps({"dataset": "org/math"}))
    assert default_task(["org/model", "tiny:s_grpo"]) == "tiny:sums"
    assert default_task([str(WEIGHTS / "base")]) == "tiny:sums", "as a server names it"
    assert default_task([str(run)]) == default_task([str(run / "checkpoint-40")]) == "org/math"
    assert default_task(["org/model", str(tmp_path)]) is None


def test_a_right_answer_that_the_verifier_does_not_take_is_refused() -> None:
    with VerifierPool("choice") as pool:
        check_gold(own_question("Which one?", "B", knows_sums=False), pool)
        check_gold(own_question("Which one?", None, knows_sums=False), pool)
        with pytest.raises(ValueError, match="'choice' does not take 'none of these' for a right answer"):
            check_gold(own_question("Which one?", "none of these", knows_sums=False), pool)
