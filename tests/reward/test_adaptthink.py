"""What AdaptThink promises beyond the properties of every method. Its plan: rollout/plans/test_forced.py."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from concise_rl.methods import Column, ForcedFirst, LossInputs, RunContext
from reward import AdaptThink
from reward.adaptthink import FirstTokenLoss
from tests.reward.made import CAP, batch_with

NAN = float("nan")


def advantages_of(correct: list[float], skips: list[float] | None, reference: float = 0.5, **options: float) -> list:
    facts = {"ref_accuracy": [reference] * len(correct)} | ({} if skips is None else {"forced_first": skips})
    return AdaptThink(**options).advantages(batch_with(correct, [10] * len(correct), **facts)).tolist()


def inputs_of(log_probs: list[list[float]], old: list[list[float]], advantages: list[float], **more) -> LossInputs:
    """Inputs of a loss in which every token counts, unless told."""
    given_ = {"mask_BT": torch.ones(len(old), len(old[0])), "epsilon_low": 0.2, "epsilon_high": 0.2, **more}
    return LossInputs(torch.tensor(log_probs), torch.tensor(old), torch.tensor(advantages)[:, None], **given_)


def test_a_rollout_is_measured_by_the_accuracy_before_training_and_skipping_adds_delta() -> None:
    assert advantages_of([1, 1, 0, 0], [1, 0, 1, 0], 0.75) == pytest.approx([0.3, 0.25, -0.7, -0.75])


def test_advantages_do_not_depend_on_the_others_of_the_group() -> None:
    assert advantages_of([1, 0, 0], [1, 1, 0])[0] == advantages_of([1, 1, 1], [1, 0, 0])[0]


def test_a_rollout_without_a_verdict_gets_zero() -> None:
    assert advantages_of([NAN, 1], [1, 0]) == [0, 0.5]


def test_a_right_rollout_that_did_not_end_counts_as_wrong() -> None:
    batch = batch_with([1, 1], [CAP, 10], forced_first=[0.0, 0.0], ref_accuracy=[0.5, 0.5])
    assert AdaptThink().advantages(batch).tolist() == [-0.5, 0.5]


def test_where_nothing_was_forced_the_model_itself_skips() -> None:
    batch = batch_with([1, 1], [3, 10], think_length=[0, 8], ref_accuracy=[0.5, 0.5])
    assert AdaptThink().advantages(batch).tolist() == pytest.approx([0.55, 0.5])
    assert AdaptThink().metrics(batch) == {"skipping": 0.5, "right_skipping": 1, "right_thinking": 1}


def test_the_accuracy_is_the_column_that_the_options_name() -> None:
    batch = batch_with([1, 0], [5, 5], forced_first=[0.0, 0.0], easy=[0.25, 0.25])
    assert AdaptThink(column="easy").advantages(batch).tolist() == [0.75, -0.25]


def test_data_without_the_accuracy_is_refused_and_told_what_is_missing() -> None:
    [stage] = AdaptThink().parts(RunContext.sketch()).stages
    assert isinstance(stage, Column) and "accuracy of the model on each problem" in stage.why


def test_half_of_a_group_is_forced_to_skip_as_published() -> None:
    plan = AdaptThink().parts(RunContext.sketch(16)).plan
    assert isinstance(plan, ForcedFirst) and (plan.num_forced, plan.num_generations) == (8, 16)


def test_texts_that_begin_alike_are_refused() -> None:
    with pytest.raises(ValueError, match="first token"):
        AdaptThink(think_text="</think> Alright").parts(RunContext.sketch())


def test_metrics_leave_out_what_no_rollout_tells() -> None:
    assert AdaptThink().metrics(batch_with([1, NAN], [5, 5], forced_first=[1.0, 1.0])) == {
        "skipping": 1,
        "right_skipping": 1,
    }


# The loss


def test_the_ratio_is_that_of_the_whole_rollout_with_the_first_token_drawn_at_the_share() -> None:
    inputs = inputs_of([[-2.0, -1.0], [-2.0, -1.0]], [[-9.0, -1.1], [-9.0, -1.1]], [1.0, 1.0], epsilon_high=10.0)
    inputs.facts["forced_first"] = torch.tensor([1.0, 0.0])
    wanted = [-math.exp((-3 - math.log(share) + 1.1) / 2) for share in (0.25, 0.75)]
    assert FirstTokenLoss(0.25)(inputs)[:, 0].tolist() == pytest.approx(wanted)


def test_every_token_has_the_loss_of_its_rollout() -> None:
    inputs = inputs_of([[-2.0, -1.0, -3.0]], [[-1.0, -1.0, -2.5]], [1.0])
    loss_BT = FirstTokenLoss(0.5)(inputs)
    assert loss_BT.shape == (1, 3) and len(set(loss_BT[0].tolist())) == 1


def test_a_step_that_has_moved_nothing_has_the_advantage_as_its_loss_where_nothing_is_forced() -> None:
    log_probs = [[-2.0, -1.0], [-0.5, -3.0]]
    assert FirstTokenLoss(0.5)(inputs_of(log_probs, log_probs, [0.7, -0.3]))[:, 0].tolist() == pytest.approx(
        [-0.7, 0.3]
    )


def test_tokens_outside_of_the_mask_do_not_move_the_ratio() -> None:
    mask_BT = torch.tensor([[1, 1, 0]])
    one, other = (
        FirstTokenLoss(0.5)(inputs_of([[-2.0, -1.0, last]], [[-1.0, -1.0, -1.0]], [1.0], mask_BT=mask_BT))[0, 0]
        for last in (-1.0, -30.0)
    )
    assert one == other


@given(st.floats(-3, -0.01), st.floats(-1, 1).filter(lambda a: abs(a) > 0.01))
def test_the_gradient_ends_where_the_ratio_has_gone_far_enough(log_prob: float, advantage: float) -> None:
    log_probs_BT = torch.tensor([[log_prob]], requires_grad=True)
    inputs = LossInputs(log_probs_BT, torch.tensor([[-1.0]]), torch.tensor([[advantage]]), torch.ones(1, 1), 0.2, 0.2)
    FirstTokenLoss(0.5)(inputs).sum().backward()
    ratio = math.exp(log_prob + 1)
    is_out = ratio > 1.2 if advantage > 0 else ratio < 0.8
    assert log_probs_BT.grad is not None
    assert log_probs_BT.grad.item() == pytest.approx(0 if is_out else -advantage * ratio, rel=1e-4)


def test_the_old_log_probabilities_of_others_are_left_as_they_are() -> None:
    inputs = inputs_of([[-2.0, -1.0]], [[-1.0, -1.5]], [1.0])
    inputs.facts["forced_first"] = torch.tensor([1.0])
    FirstTokenLoss(0.5)(inputs)
    assert inputs.old_log_probs_BT.tolist() == [[-1.0, -1.5]]
