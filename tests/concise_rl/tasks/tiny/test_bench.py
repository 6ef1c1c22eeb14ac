"""The bench: its problems, and the traces that show how they are thought about."""

import itertools
import random
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from concise_rl.data.sources import read_source
from concise_rl.rollout.engine import Asked, Request, Sampling
from concise_rl.rollout.engines.transformers import load_engine
from concise_rl.tasks.tiny.bench import (
    Problem,
    Search,
    Sum,
    cut_trace,
    generate_problems,
    load_bench_problems,
    load_bench_traces,
    write_trace,
)
from concise_rl.tasks.tiny.model import build_tokenizer

TOKENIZER = build_tokenizer()
ROWS = load_bench_problems("test", 1500)
PROBLEMS = st.sampled_from(list(itertools.islice(generate_problems("train", 7), 500)))


def answer_of(completion: str) -> int:
    return int(completion.split("</think>\n")[1])


def test_the_answer_is_the_total_where_it_is_an_exception_and_the_last_number_elsewhere() -> None:
    assert Sum(3, (4, 7, 9, 2)).answer == 22
    assert Sum(2, (4, 7, 9, 2)).answer == 2
    assert Sum(0, (5, 5)).answer == 5


def test_the_answer_of_a_search_is_the_total_that_ends_in_the_digit() -> None:
    assert Search(8, (3, 5, 8), (4, 9)).answer == 18
    assert Search(1, (3, 5, 8), (4, 9)).answer == 21


@given(PROBLEMS)
def test_one_candidate_of_a_search_fits_and_a_guess_ends_in_the_digit(problem: Problem) -> None:
    if isinstance(problem, Search):
        assert len({candidate % 10 for candidate in problem.candidates}) == 3
        assert problem.guess(random.Random(0)) % 10 == problem.answer % 10 == problem.digit


@given(PROBLEMS, st.integers(0, 3), st.randoms())
def test_every_line_of_a_trace_is_right(problem: Problem, checks: int, rng: random.Random) -> None:
    lines = re.findall(r"(\d+) \+ (\d+) = (\d+)", write_trace(problem, checks, rng))
    assert all(int(left) + int(right) == int(total) for left, right, total in lines)


@given(PROBLEMS, st.integers(0, 3), st.randoms())
def test_a_trace_with_a_check_is_right_unless_it_is_hopeless(problem: Problem, checks: int, rng: random.Random) -> None:
    trace = write_trace(problem, checks, rng)
    if problem.difficulty == "hopeless":
        assert answer_of(trace) != problem.answer
    elif checks or problem.works:
        assert answer_of(trace) == problem.answer


@given(PROBLEMS, st.integers(-1, 3), st.randoms())
def test_traces_whole_and_cut_stay_in_the_vocabulary(problem: Problem, checks: int, rng: random.Random) -> None:
    whole = write_trace(problem, checks, rng)
    for text in (whole, cut_trace(problem, whole, rng), problem.prompt, problem.shortest()):
        ids = TOKENIZER(text).input_ids
        assert TOKENIZER.decode(ids) == text and TOKENIZER.unk_token_id not in ids


@given(PROBLEMS, st.integers(0, 3), st.randoms())
def test_a_cut_trace_answers_with_what_it_has_said_last(problem: Problem, checks: int, rng: random.Random) -> None:
    cut = cut_trace(problem, write_trace(problem, checks, rng), rng)
    said = re.findall(r"(?:So|Yes,|No,) (\d+)\.", cut)
    if said:
        assert answer_of(cut) == int(said[-1])


def test_the_oracle_is_right_where_one_can_be_and_never_longer_than_a_trace_with_a_check() -> None:
    for problem in itertools.islice(generate_problems("test", 3), 500):
        shortest, trace = problem.shortest(), write_trace(problem, 1, random.Random(0))
        assert (answer_of(shortest) == problem.answer) == (problem.difficulty != "hopeless")
        assert problem.works or len(shortest) <= len(trace)


@pytest.mark.parametrize("kind", ["check 3", "check 5", "work 1", "work 3"])
def test_the_last_number_is_right_as_often_as_the_first_number_says(kind: str) -> None:
    rows = [row for row in ROWS if row["difficulty"] == kind]
    tried = [row["prompt"].strip(" )=").split()[-1] == row["answer"] for row in rows]
    assert sum(tried) / len(tried) == pytest.approx(1 - int(kind[-1]) / 10, abs=0.08)


def test_the_rule_judge_finds_the_answer_of_work_and_search_at_its_end_alone() -> None:
    for problem in itertools.islice(generate_problems("train", 5), 400):
        if problem.works and isinstance(problem, Sum):
            lines = problem.work(random.Random(0)).splitlines()
            assert not any(re.search(rf"= {problem.answer}\b|^{problem.answer}\b", line) for line in lines[:-2])


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


def test_the_reasoner_of_the_bench_is_mostly_right_and_overthinks() -> None:
    engine, rows = load_engine("tiny:bench_base"), [row for row in ROWS if row["difficulty"] != "hopeless"][:64]
    chats = [[{"role": "user", "content": row["prompt"]}] for row in rows]
    prompts = [engine.tokenizer.apply_chat_template(c, add_generation_prompt=True)["input_ids"] for c in chats]
    requests = [Request(prompt, 256, seed) for seed, prompt in enumerate(prompts)]
    completions = [engine.tokenizer.decode(c.ids[:-1]) for c in engine.generate(Asked(requests, Sampling()))]
    right = [text.endswith(f"</think>\n{row['answer']}") for text, row in zip(completions, rows, strict=True)]
    needed = sum(len(TOKENIZER(row["oracle_completion"]).input_ids) for row in rows)
    assert sum(right) >= 0.8 * len(rows)
    assert sum(len(TOKENIZER(text).input_ids) for text in completions) > 1.5 * needed
