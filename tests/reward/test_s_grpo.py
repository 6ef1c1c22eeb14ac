"""What S-GRPO promises beyond the properties of every method. Its plan: tests/concise_rl/rollout/plans."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from concise_rl.methods import RolloutBatch, RunContext
from concise_rl.reading.trace import Delimiters, StopReason
from concise_rl.rollout.plans.serial import SerialExits, Uniform
from reward import Grpo, SGrpo, build_objective
from reward.s_grpo import serial_rewards
from tests.reward.test_objectives import CAP, batch_of

NAN = float("nan")
DELIMITERS = Delimiters((7,), frozenset([1]))
VERDICTS = st.lists(st.sampled_from([0.0, 1.0, NAN]), min_size=2, max_size=16)


def rewards_of(correct: list[float], **options: float) -> list[float]:
    """Rewards of one group of finished rollouts."""
    return SGrpo(**options).rewards(batch_of([correct], [[9] * len(correct)])).tolist()


def serial_batch(correct: list[list[float]], length: list[list[int]]) -> RolloutBatch:
    """A batch whose members are exits, but for the last of each group."""
    batch = batch_of(correct, length)
    is_exit = torch.arange(len(batch.length)) % batch.num_generations != batch.num_generations - 1
    return replace(batch, stop_reason=torch.where(is_exit, int(StopReason.FORCED_EXIT), batch.stop_reason))


def test_rewards_halve_along_the_correct_members_and_wrong_ones_use_up_no_step() -> None:
    assert rewards_of([0, 1, 0, 0, 1, 1, 0, 1]) == [0, 1, 0, 0, 0.5, 0.25, 0, 0.125]


def test_the_full_path_earns_all_where_no_exit_is_right() -> None:
    assert rewards_of([0, 0, 0, 1]) == [0, 0, 0, 1]


@given(VERDICTS, st.floats(1, 4))
def test_each_correct_member_earns_the_decay_times_what_the_next_one_does(correct: list[float], decay: float) -> None:
    rewards = serial_rewards(torch.tensor([correct], dtype=torch.float64), decay)[0].tolist()
    earned = [reward for verdict, reward in zip(correct, rewards, strict=True) if verdict == 1]
    assert earned == pytest.approx([decay**-step for step in range(len(earned))])


def test_a_decay_of_one_pays_all_correct_members_alike() -> None:
    assert rewards_of([0, 1, 0, 1, 1], decay=1.0) == [0, 1, 0, 1, 1]


def test_only_the_first_correct_member_earns_where_that_is_asked_for() -> None:
    assert rewards_of([0, 1, 0, 1, 1], only_shortest=True) == [0, 1, 0, 0, 0]


def test_an_exit_without_a_verdict_uses_up_no_step_and_gets_zero() -> None:
    batch = batch_of([[1, NAN, 1, 0]], [[5, 6, 7, 8]])
    assert SGrpo().rewards(batch)[[0, 2, 3]].tolist() == [1, 0.5, 0]
    assert SGrpo().advantages(batch).tolist() == [0.5, 0, 0, -0.5]


def test_an_exit_whose_answer_did_not_end_earns_nothing_and_uses_up_no_step() -> None:
    batch = batch_of([[1, 1, 1]], [[CAP, 6, 7]])
    assert SGrpo().rewards(batch).tolist() == [0, 1, 0.5]


def test_advantages_are_rewards_less_their_mean_over_no_standard_deviation() -> None:
    batch = batch_of([[0, 1, 0, 1], [1, 1, 1, 1]], [[3, 5, 9, 12], [3, 5, 9, 12]])
    expected = [-0.375, 0.625, -0.375, 0.125, 0.53125, 0.03125, -0.21875, -0.34375]
    assert SGrpo().advantages(batch).tolist() == expected


@given(VERDICTS)
def test_the_advantages_of_a_group_sum_to_zero(correct: list[float]) -> None:
    batch = batch_of([correct], [[9] * len(correct)])
    assert abs(SGrpo().advantages(batch).sum().item()) < 1e-5


def test_the_place_in_the_group_decides_and_not_the_length() -> None:
    correct = [[1, 0, 1, 1]]
    rising, falling = batch_of(correct, [[3, 5, 9, 12]]), batch_of(correct, [[12, 9, 5, 3]])
    assert torch.equal(SGrpo().advantages(rising), SGrpo().advantages(falling))


def test_a_decay_of_one_is_grpo_over_no_standard_deviation() -> None:
    batch = batch_of([[0, 1, 0, 1], [1, 1, 1, 1]], [[3, 5, 9, 12], [3, 5, 9, 12]])
    assert torch.equal(SGrpo(decay=1.0).advantages(batch), Grpo(scale_rewards="none").advantages(batch))


def test_its_rollouts_are_one_path_and_exits_with_the_published_text() -> None:
    written: list[str] = []

    def encode(text: str) -> tuple[int, ...]:
        written.append(text)
        return (4, 7, 8)

    plan = SGrpo().parts(RunContext(DELIMITERS, 8, encode)).plan
    assert plan == SerialExits(DELIMITERS, (4, 7, 8), 512, Uniform(7), train_prefix=True, train_exit_text=True)
    assert written == ["Time is limited, stop thinking and start answering.\n</think>\n\n"]


def test_its_options_reach_the_plan() -> None:
    options = {"answer_max_tokens": 9, "train_prefix": False, "train_exit_text": False, "earliest_exit": 0.5}
    plan = build_objective("s_grpo", options).parts(RunContext(DELIMITERS, 4, lambda text: (7,))).plan
    assert plan == SerialExits(DELIMITERS, (7,), 9, Uniform(3, 0.5), train_prefix=False, train_exit_text=False)


@pytest.mark.parametrize(("option", "value"), [("decay", 0.9), ("answer_max_tokens", 0), ("earliest_exit", 1.0)])
def test_options_out_of_bounds_are_refused(option: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{option}: .* got {value}"):
        build_objective("s_grpo", {option: value})


def test_what_is_logged_is_about_the_exits() -> None:
    """Positions are lengths less 2 here. The first group's first right exit is its second, the other has none."""
    batch = serial_batch([[0, 1, 1, 1], [0, 0, NAN, 1]], [[7, 12, 22, 42], [5, 9, 15, 30]])
    assert SGrpo().metrics(batch) == pytest.approx(
        {"exit_position": (5 + 10 + 20 + 3 + 7 + 13) / 6, "exits_right": 2 / 5, "first_right_exit": 10}
    )


def test_the_first_right_exit_is_logged_only_where_there_is_one() -> None:
    batch = serial_batch([[0, 0, 1]], [[7, 12, 22]])
    assert SGrpo().metrics(batch) == {"exit_position": 7.5, "exits_right": 0.0}


def test_nothing_is_logged_about_rollouts_that_were_sampled_plainly() -> None:
    assert SGrpo().metrics(batch_of([[0, 1]], [[7, 12]])) == {}
