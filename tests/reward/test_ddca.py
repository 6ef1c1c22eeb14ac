"""What DDCA promises beyond the properties of every method."""

import math
import statistics

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from reward import Ddca, Grpo, build_objective
from tests.reward.test_objectives import CAP, advantages_of, batch_of, groups

NAN = float("nan")
ESTIMATORS = pytest.mark.parametrize("estimator", ["grpo", "rloo"])


def of_group(correct: list[float], length: list[int], **options: object) -> list[float]:
    """Advantages of one group."""
    return Ddca(**options).advantages(batch_of([correct], [length])).tolist()


def length_scores(lengths: list[int]) -> list[float]:
    """The sigmoid of each length standardised over all of them."""
    mean, deviation = statistics.mean(lengths), statistics.pstdev(lengths)
    return [1 / (1 + math.exp(-(length - mean) / deviation)) for length in lengths]


def test_the_length_counts_among_right_rollouts_by_its_sigmoid() -> None:
    scores = length_scores([10, 20, 50])
    mean = statistics.mean(scores)
    # Three of four right: correctness is 0.25 below 1, over a deviation of sqrt(3) / 4.
    wanted = [0.25 / (3**0.5 / 4) - 0.2 * 0.75 * (score - mean) for score in scores]
    assert of_group([1, 1, 1, 0], [10, 20, 50, 7]) == pytest.approx([*wanted, -(3**0.5)], rel=1e-5)


def test_rloo_compares_with_the_mean_of_the_others_in_both_parts() -> None:
    scores = length_scores([10, 20, 50])
    wanted = [1 / 3 - 0.2 * 0.75 * (score - (sum(scores) - score) / 2) for score in scores]
    assert of_group([1, 1, 1, 0], [10, 20, 50, 7], estimator="rloo") == pytest.approx([*wanted, -1], rel=1e-5)


@ESTIMATORS
@given(length=st.integers(1, CAP - 1))
def test_wrong_rollouts_do_not_move_the_length_that_right_ones_are_compared_with(estimator: str, length: int) -> None:
    advantages = of_group([1, 1, 0, 0], [10, 30, length, 9], estimator=estimator)
    assert advantages == of_group([1, 1, 0, 0], [10, 30, 12, 50], estimator=estimator)


@ESTIMATORS
@given(case=groups())
def test_the_length_shifts_credit_between_right_rollouts_and_adds_none(estimator: str, case) -> None:
    batch = batch_of(*case)
    by_length = advantages_of(Ddca(estimator=estimator), batch) - advantages_of(
        Ddca(estimator=estimator, beta=0), batch
    )
    assert by_length.sum(dim=1).abs().max() < 1e-5
    assert not by_length[batch.grouped(batch.earned) != 1].any()


def test_the_weight_of_the_length_is_not_normalised_away_in_a_group_that_is_all_right() -> None:
    small, large = (torch.tensor(of_group([1, 1, 1], [10, 20, 50], beta=beta)) for beta in (0.1, 0.4))
    torch.testing.assert_close(4 * small, large)


def test_the_length_counts_by_the_share_of_the_group_that_is_right_unless_told_otherwise() -> None:
    def gap(**options: object) -> float:
        short, long, *_ = of_group([1, 1, 0, 0, 0, 0, 0, 0], [10, 30, 9, 9, 9, 9, 9, 9], **options)
        return short - long

    assert gap(dynamic=False) == pytest.approx(4 * gap(), rel=1e-4)


def test_without_the_length_it_is_grpo_by_the_standard_deviation_of_the_population() -> None:
    batch = batch_of([[1, 0, 1, 1, 0], [1, 1, 1, 1, 1]], [[10, 20, 30, 40, 50]] * 2)
    grpo = Grpo().advantages(batch) * (5 / 4) ** 0.5
    torch.testing.assert_close(Ddca(beta=0).advantages(batch), grpo, atol=1e-3, rtol=1e-3)


def test_the_only_right_rollout_has_no_length_to_be_compared_with() -> None:
    assert of_group([1, 0, 0], [50, 9, 9]) == of_group([1, 0, 0], [3, 9, 9])


def test_an_unfinished_rollout_is_wrong_and_its_length_counts_nowhere() -> None:
    assert of_group([1, 1, 1], [10, 30, CAP]) == of_group([1, 1, 0], [10, 30, 12])


@ESTIMATORS
def test_a_rollout_without_a_verdict_gets_zero_and_counts_nowhere(estimator: str) -> None:
    first, second, missing, wrong = of_group([1, 1, NAN, 0], [10, 30, 50, 9], estimator=estimator)
    assert missing == 0
    assert [first, second, wrong] == of_group([1, 1, 0], [10, 30, 9], estimator=estimator)


@ESTIMATORS
def test_a_group_of_which_one_is_judged_gets_zero(estimator: str) -> None:
    assert of_group([1, NAN, NAN], [10, 30, 50], estimator=estimator) == [0, 0, 0]


@ESTIMATORS
def test_lengths_of_many_thousands_that_differ_by_one_are_told_apart(estimator: str) -> None:
    batch = batch_of([[1, 1, 1]], [[10, 10, 10]])
    lengths = torch.tensor([30_000, 30_001, 30_002])
    short, middle, long = Ddca(estimator=estimator).advantages(
        type(batch)(**{**vars(batch), "length": lengths, "max_length": 32_768})
    )
    assert short == pytest.approx(-long.item()) and short > 0.05 and abs(middle) < 1e-6


@pytest.mark.parametrize(("option", "value"), [("beta", 1.5), ("eps", 0.0), ("estimator", "ppo")])
def test_options_out_of_bounds_are_refused(option: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"{option}: .* got '?{value}"):
        build_objective("ddca", {option: value})
