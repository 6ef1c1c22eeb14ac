"""What MRT promises beyond the properties of every method. Its plan: rollout/plans/test_probed.py."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from concise_rl.methods import Probed, RunContext
from reward import Grpo, Mrt
from reward.mrt import progress, progress_by_token
from tests.reward.made import batch_with

NAN = float("nan")
SHARES = st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0]), min_size=2, max_size=7)


def test_every_token_of_an_episode_has_its_progress() -> None:
    at_BW, worth_BW = torch.tensor([[0, 2, 5]]), torch.tensor([[0.25, 1.0, 0.5]])
    assert progress_by_token(at_BW, worth_BW, 7).tolist() == [[0.75, 0.75, -0.5, -0.5, -0.5, 0, 0]]


def test_tokens_before_the_first_place_have_none() -> None:
    assert progress_by_token(torch.tensor([[2, 3]]), torch.tensor([[0.0, 1.0]]), 4).tolist() == [[0, 0, 1, 0]]


def test_rollouts_with_fewer_places_keep_to_these() -> None:
    at_BW = torch.tensor([[0, 1, 2], [0, 3, -1], [0, -1, -1]])
    worth_BW = torch.tensor([[0.0, 0.5, 1.0], [0.0, 1.0, NAN], [1.0, NAN, NAN]])
    assert progress_by_token(at_BW, worth_BW, 4).tolist() == [[0.5, 0.5, 0, 0], [1, 1, 1, 0], [0, 0, 0, 0]]


def test_an_episode_whose_worth_is_not_known_has_no_progress() -> None:
    assert progress(torch.tensor([[0.0, NAN, 1.0, 0.5]])).tolist() == [[0, 0, -0.5]]


@given(SHARES)
def test_progress_adds_up_to_what_the_thinking_was_worth(shares: list[float]) -> None:
    assert progress(torch.tensor([shares])).sum().item() == pytest.approx(shares[-1] - shares[0])


@given(SHARES, st.data())
def test_by_tokens_each_episode_counts_by_its_length(shares: list[float], data) -> None:
    lengths = data.draw(st.lists(st.integers(1, 9), min_size=len(shares) - 1, max_size=len(shares) - 1))
    places = [sum(lengths[:i]) for i in range(len(shares))]
    bonus = progress_by_token(torch.tensor([places]), torch.tensor([shares]), sum(lengths) + 3)[0]
    wanted = sum(length * (shares[i + 1] - shares[i]) for i, length in enumerate(lengths))
    assert bonus.sum().item() == pytest.approx(wanted, abs=1e-5)


def test_advantages_are_those_of_grpo_and_alpha_times_the_progress() -> None:
    batch = batch_with([1, 0], [6, 4], probe_at=[[0, 2, 4], [0, 2, -1]], probe_correct=[[0, 1, 1.0], [0.5, 0, NAN]])
    outcome_B1 = Grpo().advantages(batch)[:, None]
    bonus = torch.tensor([[1.0, 1, 0, 0, 0, 0], [-0.5, -0.5, 0, 0, 0, 0]])
    assert torch.equal(Mrt(alpha=0.5).advantages(batch), outcome_B1 + 0.5 * bonus)


def test_without_a_weight_it_is_grpo() -> None:
    batch = batch_with([1, 0], [6, 4], probe_at=[[0, 2], [0, 2]], probe_correct=[[0.0, 1.0], [0.5, 0.0]])
    assert torch.equal(Mrt(alpha=0.0).advantages(batch), Grpo().advantages(batch)[:, None].expand(-1, 6))


def test_a_rollout_without_a_verdict_gets_zero() -> None:
    batch = batch_with([NAN, 1], [6, 4], probe_at=[[0, 2], [0, 2]], probe_correct=[[0.0, 1.0], [0.5, 1.0]])
    assert not Mrt().advantages(batch)[0].any()


def test_rollouts_that_were_sampled_plainly_have_their_outcome_alone() -> None:
    batch = batch_with([1, 0], [6, 4])
    assert torch.equal(Mrt().advantages(batch), Grpo().advantages(batch)[:, None].expand(-1, 6))
    assert Mrt().metrics(batch) == {}


def test_metrics_tell_of_episodes_and_their_worth() -> None:
    batch = batch_with(
        [1, 0], [6, 4], probe_at=[[0, 2, 3, 4], [0, 2, -1, -1]], probe_correct=[[0, 1, 1, 0.5], [0.5, 0.5, NAN, NAN]]
    )
    assert Mrt().metrics(batch) == {
        "episodes": 2,
        "worth_at_start": 0.25,
        "worth_at_end": 0.5,
        "idle_episodes": 0.5,
    }


def test_answers_are_forced_before_and_behind_each_of_at_most_so_many_episodes() -> None:
    plan = Mrt(max_episodes=3).parts(RunContext.sketch()).plan
    assert isinstance(plan, Probed) and plan.from_start and plan.width == 4
