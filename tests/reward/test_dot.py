"""What DOT promises beyond the properties of every method."""

import statistics
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from reward import Dot, Grpo
from reward.dot import cut_length, kept_tokens, margin
from tests.reward.test_objectives import batch_of

NAN = float("nan")
SHARP = {"std_multiplier": 1.0, "min_margin": 1}
LENGTHS = st.lists(st.integers(1, 8192), min_size=2, max_size=32)


@given(LENGTHS, st.sampled_from([0.0, 0.5, 1.0, 3.0]))
def test_outliers_are_cut_at_the_mean_and_so_many_sample_deviations_rounded_down(lengths, multiplier: float) -> None:
    wanted = torch.tensor(lengths).double().mean() + multiplier * torch.tensor(lengths).double().std()
    assert cut_length(lengths, multiplier) == pytest.approx(wanted.item(), abs=1 + 1e-6)
    assert cut_length(lengths, multiplier) <= wanted + 1e-6


def test_a_cut_that_is_a_whole_number_is_not_rounded_to_the_one_below() -> None:
    """An outlier of d among 16 equal lengths: the deviation is d / 4, the cut a whole number where 16 divides 13 d."""
    assert [cut_length([100] * 15 + [100 + d], 3.0) for d in (16, 160, 1600)] == [113, 230, 1400]


@pytest.mark.parametrize(("length", "min_margin", "tokens"), [(50, 32, 32), (200, 0.25, 50), (20, 0.25, 16)])
def test_a_margin_is_in_tokens_or_below_one_a_share_of_the_own_length(length, min_margin, tokens: int) -> None:
    assert margin(length, min_margin) == tokens


@pytest.mark.parametrize(("min_margin", "kept"), [(1, 230), (30, 230), (31, 260)])
def test_an_outlier_is_cut_where_the_margin_or_more_lies_beyond_the_cut(min_margin: int, kept: int) -> None:
    lengths = [100] * 15 + [260]
    assert kept_tokens([1] * 16, lengths, 3.0, min_margin, 1.0) == [*lengths[:15], kept]


@given(st.integers(2, 10), st.data())
def test_three_deviations_cut_nothing_in_groups_under_eleven(size: int, data) -> None:
    lengths = data.draw(st.lists(st.integers(1, 10**6), min_size=size, max_size=size))
    assert kept_tokens([1] * size, lengths, 3.0, 1, 1.0) == lengths


def test_three_deviations_cut_the_outlier_of_a_group_of_eleven() -> None:
    lengths = [100] * 10 + [100_000]
    cut = int(100 + 99_900 * (1 / 11 + 3 / 11**0.5))
    assert kept_tokens([1] * 11, lengths, 3.0, 32, 1.0) == [*lengths[:10], cut]


@pytest.mark.parametrize("verdict", [0, NAN])
def test_only_groups_that_are_right_throughout_are_cut(verdict: float) -> None:
    correct, lengths = [1, 1, 1, verdict], [10, 10, 60, 10]
    kept = Dot(**SHARP).kept_length(batch_of([correct], [lengths])).tolist()
    assert kept == ([10, 10, 55, 10] if verdict != 0 else lengths)


def test_a_member_without_a_verdict_is_neither_cut_nor_counted() -> None:
    assert kept_tokens([1, 1, 1, NAN], [10, 10, 60, 900], 1.0, 1, 1.0) == [10, 10, 55, 900]


def test_a_group_without_any_verdict_is_left_alone() -> None:
    assert kept_tokens([NAN, NAN], [10, 900], 0.0, 1, 0.5) == [10, 900]


def test_an_unfinished_rollout_makes_its_group_one_that_is_not_right_throughout() -> None:
    batch = batch_of([[1, 1, 1, 1]], [[10, 10, 50, 64]])
    assert torch.equal(Dot(**SHARP).kept_length(batch), batch.length)


def test_below_one_the_threshold_admits_wrong_members_which_count_and_are_cut() -> None:
    correct, lengths = [1, 1, 1, 0], [10, 10, 10, 50]
    assert kept_tokens(correct, lengths, 0.5, 1, 0.75) == [10, 10, 10, 30]
    assert kept_tokens(correct, lengths, 0.5, 1, 0.76) == lengths


def test_advantages_are_those_of_grpo_on_the_verdicts_after_the_cut() -> None:
    batch = batch_of([[1, 1, 1, 1], [1, 0, 1, 1]], [[10, 10, 10, 60], [10, 10, 10, 60]])
    assert Dot(**SHARP).kept_length(batch).tolist() == [10, 10, 10, 47, 10, 10, 10, 60]
    judged_again = replace(batch, correct=torch.tensor([1.0, 1, 1, 0, 1, 0, 1, 1]))
    assert torch.equal(Dot(**SHARP).advantages(judged_again), Grpo().advantages(judged_again))
    assert Dot(**SHARP).advantages(judged_again)[3] < 0 < Dot(**SHARP).advantages(judged_again)[0]
    assert not Dot(**SHARP).advantages(batch)[:4].any()


def test_each_group_has_its_own_cut() -> None:
    batch = batch_of([[1, 1, 1], [1, 1, 1]], [[5, 5, 20], [5, 5, 60]])
    kept_PG = batch.grouped(Dot(**SHARP).kept_length(batch))
    assert kept_PG.tolist() == [[5, 5, 18], [5, 5, 55]]
    assert kept_PG[1, 2] == int(statistics.mean([5, 5, 60]) + statistics.stdev([5, 5, 60]))


def test_what_is_cut_is_logged() -> None:
    metrics = Dot(**SHARP).metrics(batch_of([[1, 1, 1, 1], [1, 0, 1, 1]], [[10, 10, 10, 60], [10] * 4]))
    assert metrics == pytest.approx({"cut_tokens": 13 / 130, "cut_rollouts": 1 / 8})
