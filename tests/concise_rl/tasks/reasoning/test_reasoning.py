"""The tasks in plain English: exact solutions, data sets by name, nothing that leaks between them."""

import json
import random

import pytest
from reasoning_gym.factory import DATASETS

from concise_rl.data.rows import keep_verifiable, load_rows
from concise_rl.tasks.reasoning import HABITS, PROBLEMS, load_problems, load_traces, work_on
from concise_rl.tasks.reasoning.overthinking import Habits, overthinking_completion, shortest_completion
from concise_rl.tasks.reasoning.tasks import ENGLISH, SEEN, UNSEEN
from concise_rl.verify.pool import VerifierPool

CAREFUL = Habits(first_slip=0, check_slip=0)
SIZED = [(name, task) for name in ("problems", "larger") for task in SEEN]


def answer_of(completion: str) -> str:
    return completion.split("</think>\n")[1]


@pytest.fixture(scope="module")
def scorers():
    with VerifierPool("reasoning_gym", workers=1) as pool:
        yield pool


@pytest.mark.parametrize(("name", "task"), SIZED)
def test_the_shortest_completion_ends_with_the_answer_of_reasoning_gym(name: str, task: str) -> None:
    for row in load_problems(name, "train", 150, tasks=task):
        assert answer_of(row["oracle_completion"]) == row["answer"]


@pytest.mark.parametrize("task", SEEN)
def test_an_overthinking_trace_holds_a_whole_shortest_one_and_more(task: str) -> None:
    rng = random.Random(0)
    for row in load_problems("problems", "train", 50, tasks=task):
        shortest = row["oracle_completion"].partition("</think>")[0]
        text = overthinking_completion(work_on(task, json.loads(row["metadata"])), ENGLISH, CAREFUL, rng)
        assert text.startswith(shortest) and answer_of(text) == row["answer"]


@pytest.mark.parametrize("task", SEEN)
def test_first_passes_slip_in_every_task_and_checks_mend_most_of_it(task: str) -> None:
    def right(habits: Habits) -> float:
        rows = load_problems("problems", "train", 400, tasks=task)
        rng = random.Random(0)
        texts = [overthinking_completion(work_on(task, json.loads(r["metadata"])), ENGLISH, habits, rng) for r in rows]
        return sum(answer_of(text) == row["answer"] for text, row in zip(texts, rows, strict=True)) / len(rows)

    assert right(Habits(first_slip=0.1, no_check=1)) < 0.9
    assert right(Habits(first_slip=0.1, check_slip=0.002, no_check=0)) > 0.97


@pytest.mark.parametrize("name", PROBLEMS)
def test_the_scorers_accept_the_own_answers_of_every_data_set(name: str, scorers: VerifierPool) -> None:
    rows = load_rows(f"reasoning:{name}", num_rows=100)
    assert keep_verifiable(rows, scorers) == (rows, 0)


def test_tasks_take_turns_and_a_row_says_which_it_is_of() -> None:
    rows = load_problems("unseen", "test", 10)
    assert [row["difficulty"] for row in rows] == [*UNSEEN, *UNSEEN, *UNSEEN][:10]
    assert all(json.loads(row["metadata"])["source_dataset"] == row["difficulty"] for row in rows)


@pytest.mark.parametrize("seeds", [(0, 0), (0, 1)])
def test_no_test_problem_is_trained_on(seeds: tuple[int, int]) -> None:
    held_out = {row["prompt"] for row in load_problems("problems", "test", 1000, seeds[0])}
    assert len(held_out) == 1000
    assert not held_out & {row["prompt"] for row in load_problems("problems", "train", 2000, seeds[1])}
    assert not held_out & {row["prompt"] for row in load_traces(2000, seeds[1])}


def test_larger_problems_need_more_steps_than_those_that_are_trained_on() -> None:
    """By the length of their shortest traces, task by task."""
    for task in SEEN:
        trained, larger = (
            [len(row["oracle_completion"]) for row in load_problems(name, "test", 60, tasks=task)]
            for name in ("problems", "larger")
        )
        assert sum(larger) > 1.25 * sum(trained)


def test_larger_problems_are_of_sizes_that_are_never_trained_on() -> None:
    bounds = {key for task in SEEN.values() for key in task.larger if task.larger[key] != task.trained.get(key)}
    assert len([key for key in bounds if key.startswith("min_")]) == len(SEEN)
    for name, task in SEEN.items():
        assert any(
            low > task.trained.get(key.replace("min_", "max_"), float("inf"))
            for key, low in task.larger.items()
            if key.startswith("min_")
        ), name


def test_tasks_that_are_never_trained_on_are_tasks_of_reasoning_gym_and_none_of_the_others() -> None:
    assert not SEEN.keys() & UNSEEN.keys()
    assert SEEN.keys() | UNSEEN.keys() <= DATASETS.keys()


def test_the_same_seed_gives_the_same_rows_and_another_seed_others() -> None:
    assert load_traces(50, 1) == load_traces(50, 1) != load_traces(50, 2)
    assert load_problems("larger", "test", 50, 1) == load_problems("larger", "test", 50, 1)
    assert load_problems("larger", "test", 50, 1) != load_problems("larger", "test", 50, 2)


def test_options_choose_tasks_and_habits() -> None:
    rows = load_rows("reasoning:traces?tasks=gcd,chain_sum&no_check=1&first_slip=0", num_rows=40)
    assert "So the answer" not in "".join(rows["answer"])
    assert all(("GCD" in prompt) == (i % 2 == 0) for i, prompt in enumerate(rows["prompt"]))
    assert load_rows("reasoning:traces", num_rows=10).to_list() == load_traces(10, habits=HABITS["traces"])


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("reasoning:problem", "Unknown data set 'reasoning:problem'. Did you mean 'reasoning:problems'"),
        ("reasoning:larger?tasks=chan_sum", "Unknown task of reasoning:larger 'chan_sum'. Did you mean 'chain_sum'"),
        ("reasoning:unseen?tasks=gcd", "Unknown task of reasoning:unseen 'gcd'"),
        ("reasoning:problems?no_check=1", "Unknown option of reasoning:problems 'no_check'"),
        ("reasoning:traces?no_chek=1", "Did you mean 'no_check'"),
        ("reasoning:traces?no_check=often", "no_check='often' is not valid"),
        ("reasoning:traces?no_check=2", "no_check is a probability"),
        ("reasoning:traces?seed=2", "set `seed` and `num_rows`"),
    ],
)
def test_a_name_or_option_that_is_not_understood_is_an_error_that_says_what_to_write(source: str, message: str) -> None:
    with pytest.raises(ValueError, match=message.replace("?", r"\?")):
        load_rows(source)


def test_an_unknown_split_is_refused() -> None:
    with pytest.raises(ValueError, match="train and test, not 'dev'"):
        load_rows("reasoning:problems", split="dev")


def test_more_problems_than_a_task_has_are_an_error_and_no_endless_search(monkeypatch) -> None:
    monkeypatch.setattr("concise_rl.tasks.reasoning.PATIENCE", 300)
    monkeypatch.setitem(PROBLEMS["problems"], "gcd", {"min_value": 2, "max_value": 5})
    with pytest.raises(ValueError, match=r"no more than \d+ problems of gcd \(split train\): ask for fewer rows"):
        load_problems("problems", "train", 100, tasks="gcd")


def test_the_shortest_trace_of_a_known_problem_of_each_task() -> None:
    known = {
        "chain_sum": ({"expression": "57 - 87 + 2"}, ["57 minus 87 is -30.", "-30 plus 2 is -28.", "-28"]),
        "letter_counting": (
            {"span": ["The", "kettle", "is"], "target_letter": "t"},
            ['"The" has 1, that makes 1.', '"kettle" has 2, that makes 3.', '"is" has none.', "3"],
        ),
        "number_sorting": (
            {"direction": "descending", "original_numbers": ["9.0", "59.0", "9.0"]},
            ["Of 9.0, 59.0, 9.0 the largest is 59.0.", "Of 9.0, 9.0 the largest is 9.0.", "['59.0', '9.0', '9.0']"],
        ),
        "leg_counting": (
            {"animals": {"bee": 3, "duck": 1}},
            ["3 bees have 3 times 6 = 18 legs, that makes 18.", "1 duck has 1 times 2 = 2 legs, that makes 20.", "20"],
        ),
        "gcd": ({"numbers": [36, 84]}, ["84 divided by 36 leaves 12.", "36 divided by 12 leaves 0.", "12"]),
    }
    assert known.keys() == SEEN.keys()
    for task, (metadata, (*lines, answer)) in known.items():
        assert shortest_completion(work_on(task, metadata)) == "\n".join(["<think>", *lines, "</think>", answer])
