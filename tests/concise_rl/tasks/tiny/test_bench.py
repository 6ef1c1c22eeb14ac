"""The bench: its problems, and the traces that show how they are thought about."""

import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from concise_rl.data.sources import read_source
from concise_rl.tasks.tiny.bench import (
    CUES,
    LIMITS,
    Problem,
    generate_problems,
    load_bench_problems,
    load_bench_traces,
    write_trace,
)
from concise_rl.tasks.tiny.model import build_tokenizer

TOKENIZER = build_tokenizer()
ROWS = load_bench_problems("test", 1500)
PROBLEMS = st.builds(
    Problem, st.sampled_from(LIMITS), st.lists(st.integers(1, 9), min_size=2, max_size=5).map(lambda t: tuple(t))
)


def test_the_answer_is_the_total_where_it_is_an_exception_and_the_last_number_elsewhere() -> None:
    assert Problem(3, (4, 7, 9, 2)).answer == 22
    assert Problem(2, (4, 7, 9, 2)).answer == 2
    assert Problem(0, (5, 5)).answer == 5


@given(PROBLEMS)
def test_a_check_adds_up_line_by_line_and_reaches_the_total(problem: Problem) -> None:
    lines = problem.lines.splitlines()
    assert len(lines) == len(problem.terms) - 1
    assert all(eval(left) == int(right) for left, right in (line.split(" = ") for line in lines))
    assert lines[-1].endswith(f" = {sum(problem.terms)}")


@given(PROBLEMS, st.integers(0, 3), st.randoms())
def test_a_trace_answers_right_if_it_checks_and_stays_in_vocabulary(
    problem: Problem, checks: int, rng: random.Random
) -> None:
    text = write_trace(problem, checks, *rng.choices(CUES, k=checks))
    ids = TOKENIZER(text).input_ids
    assert TOKENIZER.decode(ids) == text and TOKENIZER.unk_token_id not in ids
    assert int(text.split("</think>\n")[1]) == (problem.answer if checks else problem.terms[-1])
    assert text.count("Yes") + text.count("No") == checks


def test_the_oracle_is_right_and_checks_only_where_there_can_be_an_exception() -> None:
    for row in ROWS:
        assert row["oracle_completion"].endswith(f"</think>\n{row['answer']}")
        assert ("check" in row["oracle_completion"]) == (row["difficulty"] > 0)


def test_the_first_try_is_right_as_often_as_the_first_number_says() -> None:
    for limit in LIMITS:
        tried = [row["prompt"].split()[-2] == row["answer"] for row in ROWS if row["difficulty"] == limit]
        assert sum(tried) / len(tried) == pytest.approx(1 - limit / 10, abs=0.06)


def test_no_problem_of_the_test_split_is_in_the_train_split() -> None:
    train, test = (set(itertools.islice(generate_problems(split, 0), 3000)) for split in ("train", "test"))
    assert not train & test


def test_problems_differ_within_a_load_repeat_for_a_seed_and_change_with_it() -> None:
    assert len({row["prompt"] for row in ROWS}) == 1500
    assert load_bench_problems("test", 1500) == ROWS
    assert load_bench_problems("test", 100, seed=1) != ROWS[:100]


@given(st.integers(0, 1000), st.integers(1, 200))
def test_demonstrations_are_as_many_as_wanted(seed: int, count: int) -> None:
    assert len(load_bench_traces(count, seed)) == count


def test_the_bench_is_a_source_and_has_two_splits() -> None:
    assert read_source("tiny:bench", "test", 300, 0).values["prompt"] == [row["prompt"] for row in ROWS[:300]]
    assert len(read_source("tiny:bench_traces", "train", 100, 0).values["answer"]) == 100
    with pytest.raises(ValueError, match="train and test, not 'dev'"):
        read_source("tiny:bench", "dev", 10, 0)
