"""What DECS promises beyond the properties of every method."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from concise_rl.methods import RolloutBatch
from reward import Decs, Grpo, build_objective
from reward.decs import shortened_rewards, token_rewards
from tests.reward.test_objectives import CAP, batch_of, groups

NAN = float("nan")
ROOT_HALF = 0.5**0.5


def labelled(correct: list[list[float]], length: list[list[int]], spans: list[list[int]]) -> RolloutBatch:
    """A batch with the redundant spans given, a pair for each rollout."""
    return replace(batch_of(correct, length), facts={"redundant": torch.tensor(spans)})


def expected_column(rewards: list[float], eps: float = 1e-6) -> list[float]:
    """Rewards less their mean, over their unbiased standard deviation + eps."""
    column = torch.tensor(rewards, dtype=torch.float64)
    return ((column - column.mean()) / (column.std() + eps)).tolist()


def test_rewards_are_one_and_beta_but_for_redundant_tokens_and_wrong_rollouts() -> None:
    batch = labelled([[1, 1, 0]], [[6, 3, 4]], [[2, 5], [1, 1], [2, 2]])
    shortened = 1 + 0.1 * (1 - 6 / CAP)
    assert Decs().token_rewards(batch, 7).tolist() == [
        pytest.approx([1.1, 1.1, shortened, shortened, shortened, 1.1, 1.1]),
        pytest.approx([1.1] * 7),
        [0] * 7,
    ]


@given(st.floats(0, 1), st.floats(0, 1))
def test_the_paper_pays_redundant_tokens_beta_less_than_the_code(used: float, beta: float) -> None:
    right, share = torch.ones(1, dtype=torch.float64), torch.tensor([used], dtype=torch.float64)
    code, paper = shortened_rewards(right, share, beta, "code"), shortened_rewards(right, share, beta, "paper")
    assert (code - paper).item() == pytest.approx(beta)
    assert paper.item() == pytest.approx(1 - beta * used)


def test_of_two_right_rollouts_the_redundant_one_is_pushed_down_and_the_other_up() -> None:
    batch = labelled([[1, 1]], [[6, 6]], [[3, 5], [5, 5]])
    advantages = Decs().advantages(batch)
    assert advantages[0].tolist() == pytest.approx([0, 0, 0, -ROOT_HALF, -ROOT_HALF, 0], abs=1e-3)
    assert torch.equal(advantages[1], -advantages[0])
    assert not advantages[:, [0, 1, 2, 5]].any()


def test_a_rollout_that_has_ended_is_what_one_that_goes_on_thinking_is_compared_with() -> None:
    batch = labelled([[1, 1]], [[3, 8]], [[1, 1], [4, 7]])
    advantages = Decs().advantages(batch)
    assert (advantages[1, 4:7] < -0.7).all() and (advantages[0, 4:7] > 0.7).all()


def test_each_column_is_normalised_for_itself() -> None:
    batch = labelled([[1, 1, 1, 0]], [[8, 6, 4, 5]], [[2, 6], [3, 4], [2, 2], [3, 3]])
    rewards, advantages = Decs().token_rewards(batch, 8), Decs().advantages(batch)
    for column in range(8):
        assert advantages[:, column].tolist() == pytest.approx(expected_column(rewards[:, column].tolist()), abs=1e-6)


@pytest.mark.parametrize("size", [3, 5, 6, 7, 8, 12, 16, 24])
@pytest.mark.parametrize("beta", [0.1, 0.2, 0.05, 1 / 3])
def test_a_column_of_equal_rewards_gets_exactly_zero(size: int, beta: float) -> None:
    """In float32 the mean of 12 rewards of 1.1 is not 1.1, which the division by 1e-6 would make -0.1 of."""
    batch = labelled([[1] * size], [[9] * size], [[2, 7]] * size)
    assert not Decs(beta=beta).advantages(batch).any()


@given(st.sampled_from([0.01, 0.1, 1.0]), st.lists(st.integers(4, CAP - 1), min_size=4, max_size=4))
def test_beta_cancels_in_a_group_that_is_all_right(beta: float, lengths: list[int]) -> None:
    batch = batch_of([[1, 1, 1, 1]], [lengths])
    wanted = Decs(beta=0.3, eps=1e-12).advantages(batch)
    torch.testing.assert_close(Decs(beta=beta, eps=1e-12).advantages(batch), wanted, atol=1e-4, rtol=1e-4)


def test_a_redundant_token_may_be_above_the_mean_of_a_mixed_group() -> None:
    batch = labelled([[1, 1, 0, 0]], [[6, 6, 6, 6]], [[3, 5], [5, 5], [4, 4], [4, 4]])
    redundant, needed = Decs().advantages(batch)[[0, 1], 3]
    assert needed > redundant > 0


def test_a_rollout_without_a_verdict_gets_zero_in_all_columns_and_moves_none() -> None:
    spans = [[2, 5], [3, 3], [4, 4]]
    advantages = Decs().advantages(labelled([[1, 1, NAN, 0]], [[7, 5, 7, 6]], [*spans, [4, 4]]))
    without = Decs().advantages(labelled([[1, 1, 0]], [[7, 5, 6]], spans))
    assert not advantages[2].any()
    assert torch.equal(advantages[[0, 1, 3]], without)


def test_a_label_on_an_unfinished_rollout_changes_nothing() -> None:
    spans = [[5, 40], [8, 8], [4, 4]]
    with_label = labelled([[1, 1, 0]], [[CAP, 11, 9]], spans)
    without = labelled([[1, 1, 0]], [[CAP, 11, 9]], [[62, 62], *spans[1:]])
    assert torch.equal(Decs().advantages(with_label), Decs().advantages(without))


def test_the_cap_is_what_lengths_are_a_share_of() -> None:
    batch = labelled([[1, 0]], [[10, 5]], [[4, 8], [3, 3]])
    assert Decs().token_rewards(replace(batch, max_length=40), 10)[0, 5].item() == pytest.approx(1 + 0.1 * 0.75)


@pytest.mark.parametrize(("form", "reward"), [("code", 1.1), ("paper", 1.0)])
def test_without_decoupling_it_is_grpo_on_a_length_reward_of_the_whole_rollout(form: str, reward: float) -> None:
    batch = batch_of([[1, 1, 0, 1], [1, 1, 1, 1]], [[10, 20, 12, CAP], [8, 9, 30, 8]])
    advantages = Decs(decoupled=False, redundant_reward=form, eps=1e-4).advantages(batch)
    by_length = torch.where(batch.earned == 1, reward - 0.1 * batch.length / CAP, 0.0)
    of_grpo = Grpo().advantages(replace(batch, correct=by_length, finished=batch.finished | True))
    torch.testing.assert_close(advantages, of_grpo[:, None].expand_as(advantages), atol=1e-4, rtol=1e-4)


@given(groups())
def test_without_decoupling_labels_do_not_matter_and_are_left_as_they_are(case) -> None:
    batch = batch_of(*case)
    labels = batch.redundant.clone()
    moved = replace(batch, facts={"redundant": labels * 0})
    assert torch.equal(Decs(decoupled=False).advantages(batch), Decs(decoupled=False).advantages(moved))
    assert torch.equal(batch.redundant, labels)


def test_token_rewards_are_for_any_width() -> None:
    one: Tensor = torch.ones(1)
    span = torch.tensor([[1, 3]])
    assert token_rewards(one, 0.5 * one, span, 2, 0.0).tolist() == [[1, 0.5]]
    assert token_rewards(one, 0.5 * one, span, 0, 0.0).shape == (1, 0)


def test_advantages_have_the_precision_of_the_verdicts() -> None:
    batch = batch_of([[1, 1, 0]], [[7, 6, 9]])
    assert Decs().advantages(batch).dtype == torch.float32
    assert Decs().advantages(replace(batch, correct=batch.correct.double())).dtype == torch.float64


def test_the_share_of_redundant_tokens_is_logged_where_a_rollout_is_right() -> None:
    batch = labelled([[1, 1, 0]], [[6, 14, 30]], [[2, 5], [4, 6], [20, 20]])
    assert Decs().metrics(batch) == {"redundant_tokens": 0.25}
    assert Decs().metrics(labelled([[0, 0]], [[6, 6]], [[4, 4], [4, 4]])) == {}


@pytest.mark.parametrize(("option", "value"), [("beta", 1.1), ("eps", 0.0), ("redundant_reward", "both")])
def test_options_out_of_bounds_are_refused(option: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"{option}: .* got '?{value}"):
        build_objective("decs", {option: value})
