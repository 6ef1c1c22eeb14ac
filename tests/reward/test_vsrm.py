"""What VSRM promises beyond the properties of every method. Its plan: rollout/plans/test_probed.py."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from concise_rl.methods import Probed, RunContext
from reward import Vsrm
from reward.vsrm import returns, step_rewards
from tests.reward.made import batch_with

NAN = float("nan")
FLOAT = {"dtype": torch.float64}


def test_a_step_earns_the_change_that_it_makes() -> None:
    assert step_rewards([0.2, 0.6, 0.0, 1.0], 0.7, 4) == pytest.approx([0.4, -0.6, 1.0])


def test_a_step_without_a_change_earns_a_later_one_discounted_by_its_distance() -> None:
    assert step_rewards([0.2, 0.2, 0.2, 1.0], 0.5, 4) == pytest.approx([0.2, 0.4, 0.8])


@pytest.mark.parametrize(("look_ahead", "first"), [(4, 0.0), (5, 0.7**5)])
def test_a_change_too_far_ahead_pays_nothing(look_ahead: int, first: float) -> None:
    assert step_rewards([0.0] * 6 + [1.0], 0.7, look_ahead)[0] == pytest.approx(first)


def test_steps_behind_the_last_change_earn_nothing() -> None:
    assert step_rewards([0.0, 1.0, 1.0, 1.0], 0.7, 4) == [1.0, 0.0, 0.0]


def test_a_share_that_is_not_known_changes_nothing() -> None:
    assert step_rewards([0.0, 1.0, NAN, NAN], 0.7, 4) == [1.0, 0.0, 0.0]


def test_without_cuts_there_are_no_steps() -> None:
    assert step_rewards([0.4], 0.7, 4) == []


def test_a_token_returns_the_outcome_and_the_steps_that_begin_with_it_or_later() -> None:
    at_BW, rewards_BW = torch.tensor([[1, 3]]), torch.tensor([[0.5, -0.25]], **FLOAT)
    assert returns(torch.tensor([1.0], **FLOAT), at_BW, rewards_BW, 5).tolist() == [[1.25, 1.25, 0.75, 0.75, 1.0]]


def test_rollouts_with_fewer_steps_keep_to_these() -> None:
    at_BW, rewards_BW = torch.tensor([[1, 3], [2, -1]]), torch.tensor([[0.5, 0.5], [1.0, 0.0]], **FLOAT)
    outcome_B = torch.zeros(2, **FLOAT)
    assert returns(outcome_B, at_BW, rewards_BW, 4).tolist() == [[1, 1, 0.5, 0.5], [1, 1, 1, 0]]


@given(st.lists(st.sampled_from([0.0, 0.2, 0.6, 1.0]), min_size=2, max_size=9))
def test_without_a_discount_the_first_token_returns_the_outcome_and_what_thinking_added(shares: list[float]) -> None:
    batch = batch_with([1], [20], probe_at=[[*range(len(shares))]], probe_correct=[shares])
    first = Vsrm(gamma=0.0).returns(batch, 20)[0, 0].item()
    assert first == pytest.approx(1 + shares[-1] - shares[0], abs=1e-6)


def test_advantages_are_standardised_over_the_tokens_of_the_batch() -> None:
    batch = batch_with(
        [1, 0, 1], [6, 4, 9], probe_at=[[2, 4], [1, 2], [3, 7]], probe_correct=[[0, 1.0], [1, 0.0], [1, 1.0]]
    )
    advantages_BT = Vsrm().advantages(batch)
    own = advantages_BT[torch.arange(9) < batch.length[:, None]].double()
    assert own.mean().item() == pytest.approx(0, abs=1e-6) and own.std().item() == pytest.approx(1, abs=1e-6)


def test_padding_and_rollouts_without_a_verdict_get_zero_and_count_nowhere() -> None:
    facts = {"probe_at": [[2, 4], [1, 2]], "probe_correct": [[0, 1.0], [1, 0.0]]}
    alone = Vsrm().advantages(
        batch_with([1], [6], probe_at=facts["probe_at"][:1], probe_correct=facts["probe_correct"][:1])
    )
    beside = Vsrm().advantages(batch_with([1, NAN], [6, 8], **facts))
    assert torch.equal(beside[0, :6], alone[0]) and not beside[0, 6:].any() and not beside[1].any()


def test_a_batch_alike_throughout_gets_exactly_zero() -> None:
    assert not Vsrm().advantages(batch_with([1, 1], [6, 8])).any()


def test_rollouts_that_were_sampled_plainly_return_their_outcome() -> None:
    assert Vsrm().returns(batch_with([1, 0], [3, 2]), 3).tolist() == [[1, 1, 1], [0, 0, 0]]
    assert Vsrm().metrics(batch_with([1, 0], [3, 2])) == {}


def test_metrics_count_steps_that_earn_and_steps_that_pay() -> None:
    batch = batch_with([1, 0], [9, 9], probe_at=[[1, 3, 5], [2, 4, -1]], probe_correct=[[0, 1.0, 0.5], [1.0, 1.0, NAN]])
    assert Vsrm().metrics(batch) == pytest.approx({"cuts": 1.5, "steps_earning": 1 / 3, "steps_paying": 1 / 3})


def test_thinking_is_cut_as_published() -> None:
    plan = Vsrm().parts(RunContext.sketch()).plan
    assert isinstance(plan, Probed) and (plan.samples, plan.answer_tokens) == (5, 768) and not plan.from_start
