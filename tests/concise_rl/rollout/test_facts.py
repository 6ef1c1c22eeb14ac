"""Facts of rollouts: columns of numbers, by their declaration."""

import pytest
import torch

from concise_rl.rollout.facts import Fact


def test_a_number_for_each_rollout_is_one_column() -> None:
    columns_BC = Fact("share").columns([0.25, 1.0], "cpu")
    assert columns_BC.dtype == torch.float32 and columns_BC.tolist() == [[0.25], [1.0]]


def test_several_numbers_for_each_rollout_are_as_many_columns() -> None:
    columns_BC = Fact("redundant", 2, torch.int64).columns([(3, 7), (0, 0)], "cpu")
    assert columns_BC.dtype == torch.int64 and columns_BC.tolist() == [[3, 7], [0, 0]]


@pytest.mark.parametrize("width", [1, 2])
def test_no_rollouts_have_the_columns_too(width: int) -> None:
    assert Fact("redundant", width).columns([], "cpu").shape == (0, width)


def test_a_hash_keeps_all_of_its_bits() -> None:
    key = 2**62 + 1
    assert Fact("problem", dtype=torch.int64).columns([key], "cpu").item() == key
