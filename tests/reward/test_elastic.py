"""What Elastic Reasoning promises beyond the properties of every method. Its plan: tests/concise_rl/rollout."""

from dataclasses import replace

import pytest
import torch

from concise_rl.methods import RunContext
from concise_rl.reading.trace import Delimiters, StopReason
from concise_rl.rollout.plans.budget import ThinkingBudget
from reward import Elastic, build_objective
from tests.reward.test_objectives import batch_of

DELIMITERS = Delimiters((7, 8), frozenset([1]))
CONTEXT = RunContext(DELIMITERS, 8, lambda text: ())


def test_its_rollouts_have_a_budget_for_thinking_and_one_for_the_answer() -> None:
    plan = Elastic(think_tokens=48, answer_tokens=16).parts(CONTEXT).plan
    assert plan == ThinkingBudget(48, 16, DELIMITERS)


def test_the_budgets_are_the_published_ones_unless_given() -> None:
    assert Elastic().parts(CONTEXT).plan == ThinkingBudget(1024, 1024, DELIMITERS)


def test_a_model_that_does_not_think_is_refused() -> None:
    with pytest.raises(ValueError, match="set think_end"):
        Elastic().parts(replace(CONTEXT, delimiters=Delimiters((), frozenset([1]))))


@pytest.mark.parametrize("option", ["think_tokens", "answer_tokens"])
def test_a_budget_of_nothing_is_refused(option: str) -> None:
    with pytest.raises(ValueError, match="greater than or equal to 1, got 0"):
        build_objective("elastic", {option: 0})


def test_thinking_closed_by_force_is_paid_as_any_other_and_logged() -> None:
    batch = batch_of([[1, 1, 0, 0]], [[10, 12, 30, 31]])
    forced = torch.tensor([True, False, True, False])
    forced_batch = replace(batch, stop_reason=torch.where(forced, int(StopReason.THINK_BUDGET), batch.stop_reason))
    assert torch.equal(Elastic().advantages(forced_batch), Elastic().advantages(batch))
    assert Elastic().metrics(forced_batch) == {"forced": 0.5}
