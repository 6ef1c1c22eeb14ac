"""What LC-R1 promises beyond the properties of every method. A batch here is of rollouts that are cropped already."""

from dataclasses import replace

import pytest
import torch

from concise_rl.methods import RolloutBatch
from reward import LcR1, build_objective
from tests.reward.test_objectives import CAP, batch_of

NAN = float("nan")


def cropped(correct: list[float], length: list[int], taken: list[int | None]) -> RolloutBatch:
    """One group after the crop. For each rollout how many tokens were taken out; None: the answer is never stated."""
    batch = batch_of([correct], [length])
    ends = batch.think_length + torch.tensor([count or 0 for count in taken])
    stated = torch.tensor([count is not None for count in taken])
    return replace(
        batch, facts={"redundant": torch.stack([batch.think_length, ends], dim=1), "necessary": stated.float()}
    )


def test_right_rollouts_earn_by_how_much_earlier_they_end_than_the_longest_right_one() -> None:
    """Indices of the EOS: 10, 20, 40, 5."""
    batch = cropped([1, 1, 1, 0], [11, 21, 41, 6], [0, 0, 0, 0])
    assert LcR1().rewards(batch).tolist() == pytest.approx([2.75, 2.5, 2, 1], abs=1e-4)
    assert LcR1(len_coef=0.5, format_weight=0.0).rewards(batch).tolist() == pytest.approx([1.375, 1.25, 1, 0], abs=1e-4)


def test_the_published_form_pays_and_charges_wrong_rollouts_for_their_length_where_one_is_right() -> None:
    batch = cropped([1, 0, 0], [21, 11, 41], [0, 0, 0])
    assert LcR1(pay_wrong=True).rewards(batch).tolist() == pytest.approx([2, 1.5, 0], abs=1e-4)
    none_right = cropped([0, 0, 0], [21, 11, 41], [0, 0, 0])
    assert LcR1(pay_wrong=True).rewards(none_right).tolist() == [1, 1, 1]


def test_form_is_paid_for_thinking_that_was_closed_in_a_rollout_that_ended() -> None:
    batch = cropped([0, 0, 0], [20, CAP, 20], [0, 0, 0])
    batch = replace(batch, closed=torch.tensor([True, True, False]))
    assert LcR1().rewards(batch).tolist() == [1, 0, 0]


def test_advantages_are_rewards_less_their_mean_over_no_standard_deviation() -> None:
    batch = cropped([1, 1, 0], [11, 21, 6], [0, 0, 0])
    advantages = LcR1(think_end_coef=0.0).advantages(batch)
    assert advantages.shape == (3, 21)
    assert (advantages == advantages[:, :1]).all()
    mean = (2.5 + 2 + 1) / 3
    assert advantages[:, 0].tolist() == pytest.approx([2.5 - mean, 2 - mean, 1 - mean], abs=1e-4)


def test_the_bonus_is_the_share_of_the_thinking_that_was_taken_out() -> None:
    """Thinking of 9, 9 and 18 tokens is left, of 12, 9 and 72."""
    batch = cropped([1, 1, 1], [11, 11, 20], [3, 0, 54])
    assert LcR1().bonus(batch).tolist() == pytest.approx([0.25, 0, 0.75], abs=1e-4)
    assert LcR1(think_end_coef=0.5).bonus(batch).tolist() == pytest.approx([0.125, 0, 0.375], abs=1e-4)


def test_the_bonus_is_minus_its_weight_where_the_thinking_never_states_the_answer() -> None:
    batch = cropped([1, 1, 0], [11, 11, 11], [None, 3, None])
    assert LcR1(think_end_coef=0.5).bonus(batch).tolist() == pytest.approx([-0.5, 0.125, 0], abs=1e-4)


@pytest.mark.parametrize("verdict", [0, NAN])
def test_there_is_a_bonus_for_right_rollouts_alone(verdict: float) -> None:
    batch = cropped([verdict, 1, 1], [11, CAP, 11], [3, 3, 3])
    assert LcR1().bonus(batch).tolist() == pytest.approx([0, 0, 0.25], abs=1e-4)


def test_the_bonus_is_at_the_first_token_of_the_closing_delimiter() -> None:
    batch = cropped([1, 1], [11, 8], [3, None])
    extra = LcR1().advantages(batch) - LcR1(think_end_coef=0.0).advantages(batch)
    assert extra[0].nonzero().flatten().tolist() == [9] and extra[0, 9].item() == pytest.approx(0.25, abs=1e-4)
    assert extra[1].nonzero().flatten().tolist() == [6] and extra[1, 6].item() == pytest.approx(-1)


def test_a_group_that_is_right_and_of_one_length_gets_the_bonus_alone() -> None:
    advantages = LcR1().advantages(cropped([1, 1], [11, 11], [3, 9]))
    assert advantages.nonzero().tolist() == [[0, 9], [1, 9]]
    assert advantages[:, 9].tolist() == pytest.approx([0.25, 0.5], abs=1e-4)


def test_the_crop_itself_counts_as_length() -> None:
    """Two rollouts of one original length; the one of which more is taken out has the higher advantage throughout."""
    shorter, longer = LcR1().advantages(cropped([1, 1], [11, 17], [10, 4]))
    assert shorter[0] > longer[0]


def test_a_rollout_without_an_eos_counts_as_ending_at_the_cap() -> None:
    batch = cropped([1, 0], [33, CAP], [0, 0])
    assert LcR1(pay_wrong=True).rewards(batch)[1].item() == pytest.approx(1 - CAP / 32, abs=1e-4)


def test_as_published_a_short_wrong_rollout_may_beat_a_long_right_one() -> None:
    batch = cropped([1, 0], [60, 5], [0, 0])
    published = LcR1(pay_wrong=True, len_coef=2.0).advantages(batch)[:, 0]
    assert published[1] > published[0]


def test_the_share_of_the_thinking_that_is_taken_out_is_logged() -> None:
    batch = cropped([1, 1, 0], [11, 20, 40], [3, 6, 30])
    assert LcR1().metrics(batch) == {"cropped_thinking": 0.25}
    assert LcR1().metrics(cropped([0, 1], [11, 2], [0, 0])) == {}


@pytest.mark.parametrize("option", ["len_coef", "think_end_coef", "format_weight"])
def test_options_out_of_bounds_are_refused(option: str) -> None:
    with pytest.raises(ValueError, match=f"{option}: .* got -1"):
        build_objective("lc_r1", {option: -1})
