"""The bench: its problems, and the traces that show how they are thought about."""

import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from concise_rl.data.sources import read_source
from concise_rl.tasks.tiny.bench import (
    OPERATIONS,
    generate_expressions,
    load_bench_problems,
    load_bench_traces,
    write_trace,
)
from concise_rl.tasks.tiny.model import build_tokenizer

TOKENIZER = build_tokenizer()
PROBLEMS = load_bench_problems("test", 300)


def _expression(prompt: str) -> str:
    return prompt.removesuffix(" ?").removesuffix(" =")


def test_the_gold_answer_is_what_the_expression_comes_to() -> None:
    assert all(int(row["answer"]) == eval(_expression(row["prompt"])) for row in PROBLEMS)


def test_no_trace_that_works_the_sum_out_is_shorter_than_the_oracle() -> None:
    rng = random.Random(0)
    for row in PROBLEMS:
        worked_out = [write_trace(_expression(row["prompt"]), checks, rng) for checks in (1, 2, 3)]
        assert row["oracle_completion"].endswith(f"</think>\n{row['answer']}")
        assert len(row["oracle_completion"]) < min(map(len, worked_out))


def test_no_problem_of_the_test_split_is_in_the_train_split() -> None:
    train, test = (set(itertools.islice(generate_expressions(split, 0), 3000)) for split in ("train", "test"))
    assert not train & test


def test_problems_differ_within_a_load_repeat_for_a_seed_and_change_with_it() -> None:
    assert len({row["prompt"] for row in PROBLEMS}) == 300
    assert load_bench_problems("test", 300) == PROBLEMS != load_bench_problems("test", 300, seed=1)


def test_every_number_of_operations_is_there_and_is_the_difficulty() -> None:
    assert {row["difficulty"] for row in PROBLEMS} == set(OPERATIONS)
    assert all(len(_expression(row["prompt"]).split()[1::2]) == row["difficulty"] for row in PROBLEMS)


@given(st.integers(0, 1000), st.integers(1, 200))
def test_demonstrations_are_as_many_as_wanted_end_right_and_stay_in_vocabulary(seed: int, count: int) -> None:
    rows = load_bench_traces(count, seed)
    assert len(rows) == count
    for row in rows[::20]:
        ids = TOKENIZER(row["answer"]).input_ids
        assert TOKENIZER.decode(ids) == row["answer"] and TOKENIZER.unk_token_id not in ids
        assert int(row["answer"].split("</think>\n")[1]) == eval(_expression(row["prompt"]))


def test_only_prompts_with_a_question_mark_show_a_guess_alone_as_a_rule() -> None:
    rows = load_bench_traces(1920, 0)
    unchecked = [row for row in rows if "=" not in row["answer"]]
    assert all("=" not in row["answer"] for row in rows if row["prompt"].endswith("?"))
    assert 0.04 < sum(row["prompt"].endswith("=") for row in unchecked) / 640 < 0.12


def test_the_bench_is_a_source_and_has_two_splits() -> None:
    assert read_source("tiny:bench", "test", 300, 0).values["prompt"] == [row["prompt"] for row in PROBLEMS]
    assert len(read_source("tiny:bench_traces", "train", 100, 0).values["answer"]) == 100
    with pytest.raises(ValueError, match="train and test, not 'dev'"):
        read_source("tiny:bench", "dev", 10, 0)
