"""What HAPO promises beyond the properties of every method: pay by a history that only right rollouts make."""

import io
import math
from collections.abc import Mapping
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from concise_rl.methods import RolloutBatch
from reward import Grpo, Hapo, build_objective
from tests.reward.test_objectives import CAP, batch_of

NAN = float("nan")


def visit(
    correct: list[list[float]], length: list[list[int]], problems: list[int], shortest: Mapping[int, int]
) -> RolloutBatch:
    """Groups of these problems, whose history is known."""
    batch = batch_of(correct, length)
    problem_B = torch.tensor(problems).repeat_interleave(batch.num_generations)
    return replace(batch, facts={**batch.facts, "problem": problem_B}, memory={"shortest": dict(shortest)})


def test_without_a_history_rewards_are_correctness() -> None:
    batch = visit([[1, 0, NAN, 1]], [[5, 60, 9, 40]], [3], {4: 10})
    assert Hapo().rewards(batch).tolist() == pytest.approx([1, 0, NAN, 1], nan_ok=True)
    torch.testing.assert_close(Hapo().advantages(batch).float(), Grpo().advantages(batch))


def test_a_right_rollout_gains_below_the_shortest_and_loses_above_it_down_to_a_floor() -> None:
    rewards = Hapo().rewards(visit([[1, 1, 1, 1]], [[5, 10, 12, 60]], [3], {3: 10}))
    assert rewards.tolist() == pytest.approx([1 + 0.5**0.5, 1, 1 + math.cos(0.6 * math.pi), 0.3])


def test_a_wrong_rollout_loses_nothing_up_to_the_shortest_and_everything_from_twice_it() -> None:
    rewards = Hapo().rewards(visit([[0, 0, 0, 0]], [[1, 10, 15, 60]], [3], {3: 10}))
    assert rewards.tolist() == pytest.approx([0, 0, -(0.5**0.5), -1], abs=1e-6)


def test_a_rollout_that_is_cut_by_the_cap_is_charged_as_a_wrong_one() -> None:
    cut, wrong = Hapo().rewards(visit([[1, 0]], [[CAP, CAP]], [3], {3: 40}))
    assert cut == wrong < 0


@given(st.integers(1, 100), st.integers(1, CAP - 1), st.integers(1, CAP - 1), st.floats(0, 1))
def test_a_right_rollout_always_beats_a_wrong_one(shortest: int, right: int, wrong: int, weight: float) -> None:
    rewards = Hapo(weight=weight).rewards(visit([[1, 0]], [[right, wrong]], [3], {3: shortest}))
    assert rewards[0] > rewards[1]


def test_the_history_is_the_shortest_right_rollout_of_each_problem() -> None:
    batch = visit([[1, 1, 0], [1, 0, 1]], [[9, 7, 2], [30, 4, 20]], [3, 4], {4: 25, 5: 6})
    assert Hapo().learn(batch) == {"shortest": {3: 7, 4: 20, 5: 6}}


@pytest.mark.parametrize(("verdict", "length"), [(0.0, 5), (NAN, 5), (1.0, CAP)])
def test_a_rollout_that_is_wrong_unjudged_or_cut_leaves_no_trace(verdict: float, length: int) -> None:
    batch = visit([[verdict, verdict]], [[length, length]], [3], {4: 25})
    assert Hapo().learn(batch) == {"shortest": {4: 25}}


def test_a_longer_visit_leaves_the_history_as_it_is() -> None:
    assert Hapo().learn(visit([[1, 1]], [[30, 40]], [3], {3: 25})) == {"shortest": {3: 25}}


def test_a_visit_is_paid_by_the_history_before_it_even_where_a_problem_comes_twice() -> None:
    method = Hapo()
    batch = visit([[1, 1], [1, 1]], [[5, 9], [7, 8]], [3, 3], {3: 10})
    rewards = [1 + math.cos(math.pi / 2 * length / 10) for length in (5, 9, 7, 8)]
    assert method.rewards(batch).tolist() == pytest.approx(rewards)
    assert method.learn(batch) == {"shortest": {3: 5}}
    assert batch.memory == {"shortest": {3: 10}}, "learning does not change what was known"


def test_the_memory_survives_a_checkpoint_that_holds_plain_values_alone() -> None:
    key = -(2**62) - 1
    memory = Hapo().learn(visit([[1, 0]], [[9, 7]], [key], {}))
    file = io.BytesIO()
    torch.save(memory, file)
    file.seek(0)
    assert torch.load(file, weights_only=True) == memory == {"shortest": {key: 9}}


def test_a_group_alike_in_verdict_and_length_gets_zero_with_a_history_too() -> None:
    batch = visit([[1, 1, 1], [0, 0, 0]], [[9, 9, 9], [20, 20, 20]], [3, 4], {3: 4, 4: 5})
    assert not Hapo().advantages(batch).any()


def test_a_weight_above_one_is_refused() -> None:
    with pytest.raises(ValueError, match="weight: Input should be less than or equal to 1"):
        build_objective("hapo", {"weight": 1.5})


def test_what_is_known_of_the_problems_is_logged() -> None:
    known = visit([[1, 0], [1, 1]], [[5, 6], [7, 8]], [3, 4], {3: 10})
    assert Hapo().metrics(known) == {"known": 0.5, "length_by_history": 0.5}
    assert Hapo().metrics(visit([[1, 0]], [[5, 6]], [3], {})) == {"known": 0.0}
