"""What ACOER promises beyond the properties of every method: its bonus, and the loop that weighs it."""

import io
import math
from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch

from concise_rl.methods import Memory, RolloutBatch
from reward import Acoer
from reward.acoer import efficiency
from tests.reward.test_objectives import CAP, batch_of

NAN = float("nan")
QUICK = Acoer(warmup_steps=0, check_window=2, ema_span=1, budget_init=40, budget_min=5)
"""A loop whose means are those of the last step."""


def step_of(correct: Sequence[float], length: Sequence[int], memory: Memory, step: int = 10**6) -> RolloutBatch:
    """One group; its thinking is two tokens shorter than its rollouts."""
    return replace(batch_of([list(correct)], [list(length)]), memory=memory, step=step)


def after(method: Acoer, steps: Sequence[Sequence[float]], length: int = 12) -> Memory:
    """What a loop knows after steps of these verdicts, counted from 0."""
    memory = method.initial()
    for step, correct in enumerate(steps):
        memory = method.learn(step_of(correct, [length] * len(correct), memory, step))
    return memory


def test_the_bonus_falls_from_all_of_its_weight_to_nothing_at_the_budget() -> None:
    scores = efficiency(torch.tensor([0.0, 0.5, 1.0, 3.0], dtype=torch.float64), log_scale=5.0)
    assert scores.tolist() == pytest.approx([1, math.log(3.5) / math.log(6), 0, 0])


def test_a_log_scale_of_zero_is_a_straight_line() -> None:
    share_B = torch.tensor([0.0, 0.25, 1.0], dtype=torch.float64)
    assert efficiency(share_B, 0.0).tolist() == [1, 0.75, 0]
    torch.testing.assert_close(efficiency(share_B, 1e-6), efficiency(share_B, 0.0), atol=1e-6, rtol=0)


def test_a_right_rollout_earns_form_and_the_bonus_and_a_wrong_one_form_alone_however_long() -> None:
    batch = step_of([1, 0, 0, NAN], [22, 5, 50, 9], {**QUICK.initial(), "alpha": 0.5})
    bonus = 0.5 * math.log(3.5) / math.log(6)
    assert QUICK.rewards(batch).tolist() == pytest.approx([2 + bonus, 1, 1, NAN], nan_ok=True)


def test_a_rollout_that_never_closed_its_thinking_earns_neither_form_nor_bonus() -> None:
    batch = step_of([0, 1], [9, 9], QUICK.initial())
    open_one = replace(batch, closed=torch.tensor([False, True]), think_length=torch.tensor([0, 7]))
    assert QUICK.rewards(open_one)[0] == 0


def test_a_cut_rollout_earns_nothing() -> None:
    assert QUICK.rewards(step_of([1, 1], [CAP, 9], QUICK.initial()))[0] == 0


def test_alpha_rises_while_accuracy_holds_and_falls_when_it_drops() -> None:
    held, fell = after(QUICK, [[1, 0], [1, 0]]), after(QUICK, [[1, 1], [1, 0]])
    assert held["alpha"] == pytest.approx(0.02 * 1.02)
    assert fell["alpha"] == pytest.approx(0.02 * 0.95)


def test_a_fall_within_the_tolerance_is_none() -> None:
    tolerant = QUICK.model_copy(update={"acc_drop": 0.5})
    assert after(tolerant, [[1, 1], [1, 0]])["alpha"] > 0.02


def test_alpha_stays_within_its_bounds() -> None:
    assert after(QUICK, [[1, 0]] * 300)["alpha"] == 0.5
    falling = [[1.0] * (300 - i) + [0.0] * i for i in range(0, 300, 20)]
    assert after(QUICK, falling * 3)["alpha"] == 0.01


def test_the_budget_follows_the_thinking_of_right_rollouts_down_to_its_floor() -> None:
    assert after(QUICK, [[1, 0], [1, 0]], length=22)["budget"] == pytest.approx(0.85 * 20)
    assert after(QUICK, [[1, 0], [1, 0]], length=4)["budget"] == 5
    assert after(QUICK, [[0, 0], [0, 0]])["budget"] == 40, "without a right rollout there is nothing to follow"


def test_nothing_is_updated_before_the_warmup_and_a_full_window_are_over() -> None:
    late = QUICK.model_copy(update={"warmup_steps": 4})
    assert [after(late, [[1, 0]] * steps)["alpha"] > 0.02 for steps in (4, 5)] == [False, True]
    wide = QUICK.model_copy(update={"check_window": 4})
    assert [after(wide, [[1, 0]] * steps)["alpha"] > 0.02 for steps in (3, 4)] == [False, True]


def test_the_window_compares_as_many_steps_as_it_says() -> None:
    wide = QUICK.model_copy(update={"check_window": 3})
    steps = [[1, 1], [1, 0], [1, 0], [1, 0]]
    alphas = [after(wide, steps[:count])["alpha"] for count in (3, 4)]
    assert alphas == pytest.approx([0.02 * 0.95, 0.02 * 0.95 * 1.02])


def test_a_step_weighs_two_by_span_and_one_in_the_means() -> None:
    slow = QUICK.model_copy(update={"ema_span": 3})
    memory = after(slow, [[1, 1], [0, 0], [1, 0]])
    assert memory["accuracies"] == [0.5, 0.5]
    assert memory["thinking"] == 7.5, "10 tokens, then none, then 10"


def test_a_step_without_a_verdict_changes_nothing_and_a_rollout_without_one_does_not_count() -> None:
    memory = after(QUICK, [[1, 0]])
    assert QUICK.learn(step_of([NAN, NAN], [9, 9], memory)) == memory
    assert QUICK.learn(step_of([1, NAN], [12, 50], memory))["accuracies"] == [0.5, 1.0]


def test_the_memory_survives_a_checkpoint_and_does_not_grow() -> None:
    memory = after(QUICK, [[1, 0]] * 9)
    file = io.BytesIO()
    torch.save(memory, file)
    file.seek(0)
    assert torch.load(file, weights_only=True) == memory
    assert len(memory["accuracies"]) == QUICK.check_window


def test_without_scaling_the_loop_weighs_the_bonus_in_a_group_that_is_all_right() -> None:
    def spread(scale: str, alpha: float) -> float:
        method = QUICK.model_copy(update={"scale_rewards": scale})
        batch = step_of([1, 1], [9, 30], {**method.initial(), "alpha": alpha})
        return method.advantages(batch)[0].item()

    assert spread("none", 0.2) == pytest.approx(10 * spread("none", 0.02), rel=1e-4)
    assert spread("group", 0.2) == pytest.approx(spread("group", 0.02), rel=0.02)


def test_the_loop_is_logged() -> None:
    assert QUICK.metrics(step_of([1, 0], [9, 9], QUICK.initial())) == {"alpha": 0.02, "budget": 40.0}
    assert QUICK.metrics(step_of([1, 0], [9, 9], after(QUICK, [[1, 0]])))["ema_accuracy"] == 0.5
