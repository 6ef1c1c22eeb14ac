"""What the length penalty and its gate promise beyond the properties of every method."""

import pytest
import torch

from concise_rl.methods import group_advantages
from reward import GrpoLambda, LengthPenalty
from reward.grpo_lambda import threshold_gate, top_fraction_gate
from reward.length_penalty import penalised_rewards
from tests.reward.test_objectives import batch_of


def test_a_single_correct_rollout_earns_one_minus_half_alpha() -> None:
    rewards = penalised_rewards(torch.tensor([[1.0, 0.0, 0.0]]), torch.tensor([[500, 2, 9]]), alpha=0.6)
    torch.testing.assert_close(rewards, torch.tensor([[0.7, 0.0, 0.0]]))


def test_the_shorter_of_two_correct_rollouts_earns_more() -> None:
    short, long = penalised_rewards(torch.ones(1, 2), torch.tensor([[10, 20]]), alpha=0.2)[0]
    assert 1 > short > long > 0.8


def test_rewards_do_not_drift_at_lengths_where_float32_would() -> None:
    length_PG = torch.tensor([[31_999, 32_000, 32_001, 32_000]])
    moved = penalised_rewards(torch.ones(1, 4), length_PG - 31_000, 0.6)
    torch.testing.assert_close(penalised_rewards(torch.ones(1, 4), length_PG, 0.6), moved, atol=1e-7, rtol=0)


@pytest.mark.parametrize("alpha", [0.05, 0.2, 0.6])
def test_without_scaling_the_advantage_from_length_alone_is_bounded_by_its_weight(alpha: float) -> None:
    batch = batch_of([[1] * 8], [[1, 2, 3, 4, 5, 6, 7, 63]])
    assert LengthPenalty(alpha=alpha, scale_rewards="none").advantages(batch).abs().max() <= alpha


def test_group_scaling_makes_a_small_length_difference_as_strong_as_a_verdict() -> None:
    batch = batch_of([[1] * 8], [[20, 20, 20, 20, 20, 20, 20, 21]])
    assert LengthPenalty(alpha=0.1, scale_rewards="group").advantages(batch).abs().max() > 2


def test_the_top_fraction_is_rounded_up_and_never_lets_in_a_group_without_a_correct_rollout() -> None:
    gate_P = top_fraction_gate(torch.tensor([0.0, 0.5, 0.25, 0.0]), 0.75)
    assert gate_P.tolist() == [False, True, True, False]


def test_ties_at_the_gate_go_to_the_earlier_group() -> None:
    assert top_fraction_gate(torch.tensor([0.5, 1.0, 0.5, 0.5]), 0.5).tolist() == [True, True, False, False]


def test_a_fraction_that_is_whole_up_to_rounding_admits_no_extra_group() -> None:
    assert top_fraction_gate(torch.ones(100), 0.07).sum() == 7


@pytest.mark.parametrize(("fraction", "admitted"), [(0.0, 0), (1.0, 3)])
def test_the_whole_and_the_empty_fraction_admit_all_and_none(fraction: float, admitted: int) -> None:
    assert top_fraction_gate(torch.tensor([0.1, 0.2, 0.3]), fraction).sum() == admitted


def test_the_threshold_is_included_and_zero_never_is() -> None:
    assert threshold_gate(torch.tensor([0.0, 0.5, 0.49]), 0.5).tolist() == [False, True, False]
    assert threshold_gate(torch.tensor([0.0, 0.5]), 0.0).tolist() == [False, True]


def test_outside_the_gate_length_does_not_matter() -> None:
    correct, length = [[1, 1, 1, 0], [1, 1, 1, 1]], [[5, 9, 30, 7], [5, 9, 30, 7]]
    batch = batch_of(correct, length)
    rewards_PG = batch.grouped(GrpoLambda(top_fraction=0.5).rewards(batch))
    assert rewards_PG[0].tolist() == [1, 1, 1, 0]
    assert len(rewards_PG[1].unique()) == 4


def test_the_share_of_gated_groups_is_logged() -> None:
    batch = batch_of([[1, 0], [1, 1], [0, 0], [1, 1]], [[5, 9]] * 4)
    assert GrpoLambda(gate="threshold", threshold=1.0).metrics(batch) == {"gated": 0.5}


def test_float64_verdicts_give_float64_advantages() -> None:
    rewards_PG = penalised_rewards(torch.tensor([[1.0, 1.0, 0.0]], dtype=torch.float64), torch.tensor([[3, 5, 9]]), 0.6)
    assert group_advantages(rewards_PG, eps=1e-6).dtype == torch.float64
