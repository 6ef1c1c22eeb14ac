"""The scorers of reasoning-gym: which tasks can be used, and what their scorers are kept from."""

import json
import logging

import pytest
from reasoning_gym.factory import DATASETS

from concise_rl.data.rows import keep_verifiable, load_rows
from concise_rl.verify.pool import VerifierPool
from concise_rl.verify.verifiers.metadata import dump_metadata, load_metadata
from concise_rl.verify.verifiers.reasoning_gym import verify

REFUSED = {
    "boxnet": "'answer' is missing",
    "graph_color": "'answer' is missing",
    "propositional_logic": "'answer' is missing",
    "rubiks_cube": "'answer' is missing",
    "rush_hour": "'answer' is missing",
    "composite": "at least one dataset",
    "coin_flip": "pays '0'",
    "complex_arithmetic": "pays 'nan'",
    "game_of_life_halting": "pays '0'",
}
"""The tasks of reasoning-gym 0.1.25 that are refused with their own settings, and why: they have no gold answers, need
to be told what to mix, or have scorers that grade nothing. All others accept their own answers."""
ATTACKS = (
    "__import__('sys')._getframe(3).f_locals['entry']['answer']",
    "().__class__.__base__.__subclasses__()",
    "entry['answer']",
    "[entry['answer']]",
    "oracle_answer",
    "valid_solutions[0]",
    "getattr(x, chr(95))",
    "globals()",
    "(lambda: 1)()",
)


def load(task: str, pool: VerifierPool) -> int:
    return len(keep_verifiable(load_rows(f"reasoning_gym:{task}", num_rows=6), pool)[0])


@pytest.fixture(scope="module")
def pool() -> VerifierPool:
    return VerifierPool("reasoning_gym", workers=1, timeout_s=30)


@pytest.mark.parametrize("task", REFUSED)
def test_tasks_that_cannot_be_graded_are_refused_at_load(pool: VerifierPool, task: str) -> None:
    with pytest.raises(ValueError, match=REFUSED[task]):
        load(task, pool)


@pytest.mark.parametrize("task", ["arc_agi", "rearc", "simple_integration", "intermediate_integration", "n_queens"])
def test_a_tasks_own_answers_are_accepted(pool: VerifierPool, task: str) -> None:
    assert load(task, pool) == 6


@pytest.mark.slow
@pytest.mark.parametrize("task", sorted(set(DATASETS) - set(REFUSED)))
def test_every_other_task_accepts_its_own_answers(pool: VerifierPool, task: str) -> None:
    assert load(task, pool) == 6


def test_tuples_and_keys_that_are_no_text_survive_as_json() -> None:
    metadata = {"grid": ((1, 2), [3, (4,)]), "by_number": {1: "a", (0, 2): "b"}, "plain": {"x": None}}
    assert load_metadata(dump_metadata(metadata)) == metadata
    assert json.loads(dump_metadata({"a": [1, "b"]})) == {"a": [1, "b"]}


def test_a_scorer_that_raises_on_a_text_says_wrong() -> None:
    row = dict(load_rows("reasoning_gym:prime_factorization", num_rows=1)[0])
    assert verify("2 x 3 x 5", row) is False
    assert verify(row["answer"], row) is True


def test_a_scorer_that_raises_on_the_own_answer_raises() -> None:
    row = dict(load_rows("reasoning_gym:prime_factorization", num_rows=1)[0])
    with pytest.raises(Exception, match="invalid literal"):
        verify("2 x 3", {**row, "answer": "two"})


@pytest.mark.parametrize(
    "task",
    [
        "simple_integration",
        "intermediate_integration",
        "polynomial_multiplication",
        "countdown",
        "puzzle24",
        "string_insertion",
        "spiral_matrix",
        "binary_matrix",
        "n_queens",
    ],
)
def test_no_text_reaches_the_answer_through_a_scorer_that_evaluates(task: str) -> None:
    row = dict(load_rows(f"reasoning_gym:{task}", num_rows=1)[0])
    assert verify(row["answer"], row) is True
    assert [attack for attack in ATTACKS if verify(attack, row)] == []


def test_an_integral_handed_back_is_no_answer() -> None:
    row = dict(load_rows("reasoning_gym:simple_integration", num_rows=1)[0])
    metadata = load_metadata(row["metadata"])
    assert verify(f"Integral({metadata['integrand']}, {metadata['variable']})", row) is False


def test_other_verifiers_are_not_probed(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING), VerifierPool("exact", workers=1) as exact:
        rows = load_rows("tiny:sums", num_rows=20)
        assert keep_verifiable(rows, exact) == (rows, 0)
    assert caplog.messages == []


def test_the_last_answer_in_tags_is_the_answer() -> None:
    row = load_rows("knights", split="test", num_rows=1)[0]
    said = f"<answer>{row['answer']}</answer>"
    assert verify(f"All of it follows.\n<answer>no</answer>\n{said}\nDone.", row) is True
    assert verify(f"{said}\n<answer>no</answer>", row) is False
