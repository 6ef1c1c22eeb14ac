"""On-Policy SFT is cross-entropy on what is right and ended by itself."""

import torch
from torch.nn import functional

from concise_rl.methods import Clipped, LossInputs, RunContext
from reward import OnPolicySft
from reward.on_policy_sft import CrossEntropy
from tests.reward.test_objectives import CAP, batch_of

NAN = float("nan")


def test_right_and_finished_rollouts_have_advantage_one_and_others_leave_the_loss() -> None:
    batch = batch_of([[1, 0, 1, NAN]], [[5, 9, CAP, 7]])
    assert OnPolicySft().advantages(batch).tolist() == [1, 0, 0, 0]
    assert OnPolicySft().kept_length(batch).tolist() == [5, 0, 0, 0]
    assert OnPolicySft().metrics(batch) == {"trained": 0.25}


def test_the_loss_is_its_own_and_each_rollout_stands_for_itself() -> None:
    assert OnPolicySft().parts(RunContext.sketch()).loss == CrossEntropy() and OnPolicySft().credit.scope == "rollout"


def test_a_group_that_is_right_throughout_is_trained_on() -> None:
    assert OnPolicySft().advantages(batch_of([[1, 1]], [[5, 9]])).tolist() == [1, 1]


def test_length_does_not_matter_under_the_cap() -> None:
    assert OnPolicySft().advantages(batch_of([[1, 1]], [[1, CAP - 1]])).tolist() == [1, 1]


def inputs(logits_BTV: torch.Tensor, ids_BT: torch.Tensor, shift: float = 0.0) -> LossInputs:
    log_probs_BT = logits_BTV.log_softmax(-1).gather(-1, ids_BT[..., None])[..., 0]
    return LossInputs(log_probs_BT, log_probs_BT.detach() - shift, torch.ones(2, 1), torch.ones(2, 3), 0.2, 0.2)


def test_the_loss_is_the_cross_entropy_of_the_sampled_tokens() -> None:
    logits_BTV, ids_BT = torch.randn(2, 3, 7), torch.randint(7, (2, 3))
    wanted = functional.cross_entropy(logits_BTV.flatten(0, 1), ids_BT.flatten())
    torch.testing.assert_close(CrossEntropy()(inputs(logits_BTV, ids_BT)).mean(), wanted)


def test_its_gradient_is_the_policy_gradient_at_ratio_one_and_stays_so_in_later_steps() -> None:
    logits_BTV, ids_BT = torch.randn(2, 3, 7, requires_grad=True), torch.randint(7, (2, 3))

    def gradient(loss, shift: float) -> torch.Tensor:
        return torch.autograd.grad(loss(inputs(logits_BTV, ids_BT, shift)).mean(), logits_BTV)[0]

    torch.testing.assert_close(gradient(CrossEntropy(), 0.0), gradient(Clipped(), 0.0))
    assert torch.equal(gradient(CrossEntropy(), 0.5), gradient(CrossEntropy(), 0.0))
    assert not gradient(Clipped(), 0.5).any()
