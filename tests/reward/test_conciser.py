"""What ConciseR's second stage promises beyond the properties of every method."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from reward import Conciser, Grpo, build_objective
from reward.conciser import all_right
from tests.reward.test_objectives import CAP, batch_of, groups

NAN = float("nan")


def test_a_group_that_is_right_throughout_earns_what_is_left_of_the_cap() -> None:
    batch = batch_of([[1, 1], [1, 0]], [[16, 32], [16, 32]])
    assert Conciser().rewards(batch).tolist() == [1.75, 1.5, 1, 0]
    assert Conciser(coef=0.5).rewards(batch).tolist() == [1.375, 1.25, 1, 0]


def test_one_rollout_that_did_not_end_is_enough_for_lengths_not_to_count() -> None:
    assert Conciser().rewards(batch_of([[1, 1, 1]], [[16, 32, CAP]])).tolist() == [1, 1, 0]


@pytest.mark.parametrize(
    ("correct", "holds"), [([1, 1], True), ([1, 0], False), ([0, 0], False), ([1, NAN], True), ([NAN, NAN], False)]
)
def test_a_group_is_right_throughout_when_all_that_were_judged_are(correct: list[float], holds: bool) -> None:
    assert all_right(torch.tensor([correct])).tolist() == [holds]


def test_a_member_without_a_verdict_stays_without() -> None:
    first, missing, last = Conciser().rewards(batch_of([[1, NAN, 1]], [[16, 2, 32]])).tolist()
    assert (first, last) == (1.75, 1.5) and missing != missing


@given(groups(), st.integers(0, 29))
def test_before_the_second_stage_it_is_grpo(case, step: int) -> None:
    batch = replace(batch_of(*case), step=step)
    assert torch.equal(Conciser(from_step=30).advantages(batch), Grpo().advantages(batch))


@pytest.mark.parametrize("step", [30, 31, 1000])
def test_the_second_stage_begins_at_its_step_and_stays(step: int) -> None:
    batch = batch_of([[1, 1]], [[16, 32]])
    assert Conciser(from_step=30).rewards(replace(batch, step=step)).tolist() == [1.75, 1.5]


def test_scaled_by_the_group_any_weight_comes_to_the_same() -> None:
    batch = batch_of([[1, 1, 1]], [[16, 32, 48]])
    small, large = (Conciser(coef=coef).advantages(batch) for coef in (0.5, 2.0))
    torch.testing.assert_close(small, large, atol=1e-3, rtol=1e-3)


def test_without_scaling_the_weight_is_the_weight() -> None:
    batch = batch_of([[1, 1, 1]], [[16, 32, 48]])
    small, large = (Conciser(coef=coef, scale_rewards="none").advantages(batch) for coef in (0.5, 2.0))
    torch.testing.assert_close(4 * small, large)


def test_the_share_of_groups_whose_lengths_count_is_logged() -> None:
    together = batch_of([[1, 1], [0, 1]], [[16, 32], [16, 32]])
    assert Conciser().metrics(together) == {"shortened": 0.5}
    assert Conciser(from_step=1).metrics(together) == {"shortened": 0.0}


@pytest.mark.parametrize("option", ["coef", "from_step"])
def test_options_out_of_bounds_are_refused(option: str) -> None:
    with pytest.raises(ValueError, match=f"{option}: .* got -1"):
        build_objective("conciser", {option: -1})
