from typing import ClassVar

import pytest
import torch
from torch import Tensor

from concise_rl.methods import Label, RolloutBatch, SequenceReward, StopReason


def batch(verdicts: list[float]) -> RolloutBatch:
    count = len(verdicts)
    yes_B, ten_B = torch.ones(count, dtype=torch.bool), torch.full((count,), 10)
    stop_B = torch.full((count,), int(StopReason.EOS))
    return RolloutBatch(torch.tensor(verdicts), ten_B, ten_B - 2, yes_B, yes_B, stop_B, count, 16, 0)


class Divided(SequenceReward):
    """Divides by nothing."""

    paper: ClassVar[str] = "none"

    def rewards(self, batch: RolloutBatch) -> Tensor:
        return batch.earned / (batch.length - batch.length)


class Grouped(Divided):
    """Forgets to flatten."""

    def rewards(self, batch: RolloutBatch) -> Tensor:
        return batch.grouped(batch.earned)


class Plain(Divided):
    """Pays the verdict."""

    def rewards(self, batch: RolloutBatch) -> Tensor:
        return batch.earned


@pytest.mark.parametrize("verdicts", [[1.0, 1.0], [0.0, 0.0]])
def test_rewards_that_are_no_numbers_where_there_is_a_verdict_are_refused(verdicts: list[float]) -> None:
    with pytest.raises(ValueError, match=r"Divided.rewards is infinite, or NaN"):
        Divided().advantages(batch(verdicts))


def test_a_rollout_without_a_verdict_may_have_no_reward() -> None:
    assert torch.isfinite(Plain().advantages(batch([1.0, float("nan"), 0.0]))).all()


def test_rewards_of_another_shape_are_refused() -> None:
    with pytest.raises(ValueError, match=r"Grouped.rewards returns the shape \(1, 2\), not \(2,\)"):
        Grouped().advantages(batch([1.0, 0.0]))


def test_a_fact_that_no_part_adds_is_named_with_what_to_do() -> None:
    with pytest.raises(ValueError, match=r"No part of the method adds the fact 'redundant'.*Name in parts\(\) the"):
        batch([1.0]).fact("redundant")


def test_passages_that_there_are_not_are_refused_where_the_method_is_read() -> None:
    with pytest.raises(ValueError, match="Did you mean 'line'"):
        Label("lines")  # ty: ignore[invalid-argument-type]
