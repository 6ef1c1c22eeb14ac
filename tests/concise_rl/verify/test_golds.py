"""Wrong answer columns, as they are noticed at load."""

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest
from datasets import Dataset

from concise_rl.data.rows import keep_verifiable, load_rows
from concise_rl.verify.pool import VerifierPool

SOLUTION = r"We count the cases one by one: first ${0}$, then the rest. Hence the number of them is $\boxed{{{0}}}$."


@pytest.fixture(scope="module")
def math() -> Iterator[VerifierPool]:
    with VerifierPool("math", workers=1) as pool:
        yield pool


def rows(answers: list[str]) -> Dataset:
    return Dataset.from_list([{"prompt": "?", "answer": answer} for answer in answers])


@pytest.mark.parametrize(
    ("answers", "kind"),
    [
        ([SOLUTION.format(i) for i in range(40)], "long texts"),
        ([f"test/precalculus/{i}.json" for i in range(40)], "names of files"),
        (["Algebra", "Number Theory", "Counting & Probability", "Prealgebra"] * 10, "words"),
        ([f"Level {i % 5 + 1}" for i in range(40)], "words"),
        (["olympiads", "cn_contest", "aops_forum", "amc_aime"] * 10, "not"),
    ],
)
def test_a_wrong_answer_column_is_an_error_that_names_the_kind(
    math: VerifierPool, answers: list[str], kind: str
) -> None:
    with pytest.raises(ValueError, match=rf"(?s){kind}.*right answer column"):
        keep_verifiable(rows(answers), math)


def test_levels_that_are_numbers_are_warned_of(math: VerifierPool, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        keep_verifiable(rows([str(i % 5 + 1) for i in range(120)]), math)
    assert "120 rows have only 5 different answers" in caplog.text


def test_yes_and_no_are_answers(math: VerifierPool, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert keep_verifiable(rows(["yes", "no"] * 60), math)[1] == 0
    assert caplog.messages == []


def test_what_is_dropped_is_listed_by_kind_with_counts_and_examples(
    math: VerifierPool, caplog: pytest.LogCaptureFixture
) -> None:
    answers = [str(i) for i in range(50)] + ["", " ", SOLUTION.format(3), "id/7.json"]
    with caplog.at_level(logging.WARNING):
        kept, dropped = keep_verifiable(rows(answers), math, tolerated=0.1)
    assert (len(kept), dropped) == (50, 4)
    assert all(line in caplog.text for line in ("2 empty: row 50", "1 long texts", "1 names of files"))


def test_words_among_the_answers_are_listed(math: VerifierPool, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert keep_verifiable(rows([*map(str, range(20)), "Evelyn"]), math)[1] == 0
    assert "1 answers that are words" in caplog.text and "Evelyn" in caplog.text


def test_numbers_are_written_as_plain_digits(tmp_path: Path) -> None:
    numbers = [1e16, 1e-7, 142.0, 3]
    (tmp_path / "rows.jsonl").write_text("\n".join(json.dumps({"prompt": "?", "answer": n}) for n in numbers))
    answers = load_rows(str(tmp_path / "rows.jsonl"))["answer"][:]
    assert answers == ["10000000000000000", "0.0000001", "142", "3"]


def test_narrow_numbers_have_no_more_digits_than_their_column_holds(tmp_path: Path) -> None:
    nested = pa.array([{"value": 0.1}, {"value": 2.5}], pa.struct([("value", pa.float32())]))
    table = pa.table({"prompt": ["a", "b"], "answer": pa.array([0.1, 2.5], pa.float32()), "nested": nested})
    pyarrow.parquet.write_table(table, tmp_path / "rows.parquet")
    for column in ("answer", "nested.value"):
        assert load_rows(str(tmp_path / "rows.parquet"), answer_column=column)["answer"][:] == ["0.1", "2.5"]
