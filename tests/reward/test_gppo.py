"""GPPO's loss against the clipped one, its published form, and the gradient that is derived from it."""

import pytest
import torch
from torch import Tensor

from concise_rl.methods import Clipped, LossInputs, RunContext, TokenLoss
from reward import Gppo, Grpo, build_objective
from reward.gppo import GradientPreserving
from tests.reward.test_objectives import batch_of

LOW, HIGH, CAP = 0.2, 0.28, 10.0
# Ratios below, in and above the range, and above the cap, each with either sign of the advantage.
RATIOS = [0.3, 0.79, 0.81, 1.0, 1.27, 1.29, 4.0, 9.9, 10.1, 50.0]


def inputs(by_token: bool = False) -> LossInputs:
    """Rows of all ratios, one for each sign of the advantage."""
    old_BT = -torch.arange(1.0, 1 + len(RATIOS)).double().expand(2, -1)
    log_probs_BT = (old_BT + torch.tensor(RATIOS).double().log()).requires_grad_()
    advantages_B1 = torch.tensor([[0.7], [-1.3]]).double()
    advantages = advantages_B1.expand(-1, len(RATIOS)).clone() if by_token else advantages_B1
    return LossInputs(log_probs_BT, old_BT, advantages, torch.ones(2, len(RATIOS)), LOW, HIGH)


def value_and_gradient(loss: TokenLoss, given: LossInputs) -> tuple[Tensor, Tensor]:
    loss_BT = loss(given)
    (gradient_BT,) = torch.autograd.grad(loss_BT.sum(), given.log_probs_BT)
    return loss_BT.detach(), gradient_BT


class Published:
    """The form of the released script: the bounds of the clamp carry the ratio's gradient, and a constant caps it."""

    facts = ()

    def __call__(self, given: LossInputs) -> Tensor:
        ratio_BT, advantages_BT = given.ratio_BT, given.advantages_BT
        one_BT = ratio_BT / ratio_BT.detach()
        bounded_BT = torch.clamp(ratio_BT, (1 - LOW) * one_BT, (1 + HIGH) * one_BT)
        loss_BT = torch.maximum(-advantages_BT * ratio_BT, -advantages_BT * bounded_BT)
        return torch.where(advantages_BT < 0, torch.minimum(loss_BT, -advantages_BT * CAP), loss_BT)


@pytest.mark.parametrize("by_token", [False, True])
def test_values_and_gradients_are_those_of_the_published_form(by_token: bool) -> None:
    for ours, theirs in zip(
        value_and_gradient(GradientPreserving(CAP), inputs(by_token)),
        value_and_gradient(Published(), inputs(by_token)),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs, atol=1e-12, rtol=1e-12)


def test_the_value_is_that_of_the_clipped_loss() -> None:
    value_BT, _ = value_and_gradient(GradientPreserving(1e9), inputs())
    torch.testing.assert_close(value_BT, value_and_gradient(Clipped(), inputs())[0])


def test_a_clipped_token_keeps_the_gradient_of_the_bound_and_others_that_of_the_clipped_loss() -> None:
    _, of_clipped_BT = value_and_gradient(Clipped(), inputs())
    _, gradient_BT = value_and_gradient(GradientPreserving(1e9), inputs())
    is_clipped_BT = of_clipped_BT == 0
    assert is_clipped_BT.tolist() == [[r > 1 + HIGH for r in RATIOS], [r < 1 - LOW for r in RATIOS]]
    torch.testing.assert_close(gradient_BT[~is_clipped_BT], of_clipped_BT[~is_clipped_BT])
    assert gradient_BT[0, -1].item() == pytest.approx(-0.7 * (1 + HIGH))
    assert gradient_BT[1, 0].item() == pytest.approx(1.3 * (1 - LOW))


def test_the_gradient_is_the_weight_times_that_of_the_log_probability() -> None:
    """By differences of the loss, with the weight held where it was."""
    given, loss, step = inputs(), GradientPreserving(1e9), 1e-6
    weight_BT = loss.weights(given)
    values = [-given.advantages_BT * weight_BT * torch.exp(torch.tensor(sign * step).double()) for sign in (1, -1)]
    by_difference_BT = (values[0] - values[1]) / (2 * step)
    torch.testing.assert_close(value_and_gradient(loss, given)[1], by_difference_BT, atol=1e-7, rtol=1e-7)


def test_a_token_of_negative_advantage_beyond_the_cap_has_no_gradient() -> None:
    value_BT, gradient_BT = value_and_gradient(GradientPreserving(CAP), inputs())
    assert (gradient_BT[1] == 0).tolist() == [ratio > CAP for ratio in RATIOS]
    assert value_BT[1, -1].item() == pytest.approx(1.3 * CAP)


def test_factors_of_zero_leave_the_gradient_of_the_clipped_loss() -> None:
    _, gradient_BT = value_and_gradient(GradientPreserving(1e9, low_scale=0.0, high_scale=0.0), inputs())
    torch.testing.assert_close(gradient_BT, value_and_gradient(Clipped(), inputs())[1])


def test_factors_scale_what_lies_below_and_above_the_range() -> None:
    _, plain_BT = value_and_gradient(GradientPreserving(1e9), inputs())
    _, scaled_BT = value_and_gradient(GradientPreserving(1e9, low_scale=0.5, high_scale=2.0), inputs())
    assert (scaled_BT / plain_BT)[:, [0, 3, -1]].tolist() == [[1, 1, 2], [0.5, 1, 1]]


def test_a_ratio_that_overflows_has_a_finite_loss_and_gradient() -> None:
    log_probs_BT = torch.tensor([[0.0], [0.0]], requires_grad=True)
    given = LossInputs(
        log_probs_BT, torch.full((2, 1), -200.0), torch.tensor([[1.0], [-1.0]]), torch.ones(2, 1), LOW, HIGH
    )
    assert given.ratio_BT.isinf().all()
    value_BT, gradient_BT = value_and_gradient(GradientPreserving(CAP), given)
    assert value_BT.flatten().tolist() == pytest.approx([-1 - HIGH, CAP])
    assert gradient_BT.flatten().tolist() == pytest.approx([-1 - HIGH, 0])


def test_the_advantages_are_those_of_grpo() -> None:
    batch = batch_of([[1, 0, 1, 1], [0, 0, 0, 0]], [[5, 9, 64, 7], [3, 4, 5, 6]])
    assert torch.equal(Gppo().advantages(batch), Grpo().advantages(batch))


def test_the_loss_takes_its_options_from_the_method() -> None:
    method = build_objective("gppo", {"ratio_cap": 3, "low_scale": 0.5})
    assert method.parts(RunContext.sketch()).loss == GradientPreserving(3, 0.5, 1)
