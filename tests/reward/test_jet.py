"""What JET promises beyond the properties of every method. Its plan: tests/concise_rl/rollout/plans/test_serial.py."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given

from concise_rl.methods import RolloutBatch, RunContext
from concise_rl.reading.trace import Delimiters, StopReason
from concise_rl.rollout.plans.serial import AtFractions, SerialExits
from reward import Grpo, Jet, build_objective
from reward.jet import jet_rewards
from tests.reward.test_objectives import CAP, batch_of, groups

DELIMITERS = Delimiters((7,), frozenset([1]))


def rewards_of(batch: RolloutBatch, **options: object) -> list[float]:
    return Jet(**options).rewards(batch).tolist()


def test_correct_rollouts_earn_from_delta_to_alpha_more_the_shorter_they_are() -> None:
    batch = batch_of([[1, 1, 1, 0]], [[10, 20, 30, 5]])
    assert rewards_of(batch) == pytest.approx([1.05 + 0.95 * 1.2, 1.05 + 0.95 * 0.6, 1.05, 0.1])


def test_the_only_correct_rollout_counts_as_the_longest() -> None:
    assert rewards_of(batch_of([[0, 1, 0]], [[10, 20, 30]])) == pytest.approx([0.1, 1.05, 0.1])


def test_correct_rollouts_of_one_length_earn_delta_each() -> None:
    assert rewards_of(batch_of([[1, 1, 0]], [[20, 20, 9]])) == pytest.approx([1.05, 1.05, 0.1])


def test_form_is_paid_for_an_answer_that_ended_right_or_wrong() -> None:
    batch = batch_of([[0, 0, 0, 1]], [[10, CAP, 12, 30]])
    batch = replace(batch, closed=torch.tensor([True, True, False, True]))
    assert rewards_of(batch) == pytest.approx([0.1, 0, 0, 1.05])
    assert rewards_of(batch, format_weight=0.0) == pytest.approx([0, 0, 0, 1.05])


def test_lengths_are_measured_over_the_batch_or_over_each_group() -> None:
    batch = batch_of([[1, 1], [1, 1]], [[10, 20], [20, 30]])
    top = 1.05 + 0.95 * 1.2
    assert rewards_of(batch) == pytest.approx([top, 1.05 + 0.57, 1.05 + 0.57, 1.05])
    assert rewards_of(batch, lengths_over="group") == pytest.approx([top, 1.05, top, 1.05])


def test_a_verdict_that_is_missing_stays_missing_and_moves_nothing() -> None:
    batch = batch_of([[1, float("nan"), 1]], [[10, 2, 30]])
    first, missing, last = rewards_of(batch)
    assert missing != missing and (first, last) == pytest.approx((2.19, 1.05))


def test_rewards_are_finite_where_nothing_is_right() -> None:
    zeros = torch.zeros(1, 3)
    assert torch.equal(jet_rewards(zeros, zeros, torch.tensor([[1, 2, 3]]), 0.1, 1.2, 0.05), zeros)


@given(groups())
def test_advantages_are_those_of_grpo_on_its_rewards(case) -> None:
    batch = batch_of(*case)
    of_rewards = Grpo().advantages(replace(batch, correct=Jet().rewards(batch), finished=batch.finished | True))
    torch.testing.assert_close(Jet().advantages(batch), of_rewards)


@given(groups())
def test_the_order_inside_a_group_does_not_matter_to_its_credit(case) -> None:
    batch, flipped = batch_of(*case), batch_of(*([row[::-1] for row in column] for column in case))
    expected = batch.grouped(Jet().rewards(batch)).flip(1).flatten()
    torch.testing.assert_close(Jet().rewards(flipped), expected, equal_nan=True)


def test_a_published_group_is_two_paths_with_five_exits_each() -> None:
    written: list[str] = []

    def encode(text: str) -> tuple[int, ...]:
        written.append(text)
        return (4, 7, 8)

    plan = Jet().parts(RunContext(DELIMITERS, 12, encode)).plan
    assert plan == SerialExits(DELIMITERS, (4, 7, 8), 50, AtFractions((0.1, 0.3, 0.5, 0.7, 0.9)))
    assert 12 // plan.num_members == 2
    assert written[0].startswith("\n\nWait, I have") and written[0].endswith("the final answer is \\boxed{")


def test_a_group_that_is_not_made_of_whole_paths_is_refused() -> None:
    with pytest.raises(ValueError, match="5 exits are 6 rollouts: num_generations must be a multiple of that, not 8"):
        Jet().parts(RunContext(DELIMITERS, 8, lambda text: (7,)))


@pytest.mark.parametrize("fractions", [[0.5, 0.1], [-0.1, 0.5], [0.5, 1.1], []])
def test_fractions_that_are_no_ascending_shares_are_refused(fractions: list[float]) -> None:
    with pytest.raises(ValueError, match="fractions"):
        build_objective("jet", {"fractions": fractions})


def test_the_share_of_right_exits_is_logged_where_there_are_any() -> None:
    batch = batch_of([[0, 1, float("nan"), 1]], [[7, 12, 22, 42]])
    assert Jet().metrics(batch) == {}
    exits = torch.tensor([True, True, True, False])
    batch = replace(batch, stop_reason=torch.where(exits, int(StopReason.FORCED_EXIT), batch.stop_reason))
    assert Jet().metrics(batch) == {"exits_right": 0.5}
