"""ACOER: a bonus for short thinking, of right rollouts alone, whose weight gives way when accuracy falls."""

import math
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from concise_rl.methods import Credit, Memory, RolloutBatch, SequenceReward


def efficiency(share_B: Tensor, log_scale: float) -> Tensor:
    """Score thinking by the budget: `log(1 + s * (1 - share)) / log(1 + s)`, 1 for none of it and 0 for all.

    Args:
        share_B: (B,) thinking by the budget, 0 or more; above 1 counts as 1.
        log_scale: s; 0 is its limit, a straight line.
    """
    spared_B = 1 - share_B.clamp(max=1)
    return torch.log1p(log_scale * spared_B) / math.log1p(log_scale) if log_scale else spared_B


class Acoer(SequenceReward):
    """ACOER (Lee et al.): a bonus for short thinking of right rollouts, under a control loop.

    Reward of a right rollout: `1 + a * log(1 + 5 * (1 - min(T/B, 1))) / log 6`, T its thinking tokens; of a wrong one:
    0, however long. Each earns `format_weight` more for having closed its thinking and ended. The loop follows running
    means of accuracy and of the thinking of right rollouts. From step `warmup_steps` on, once it has seen
    `check_window` steps, it updates behind each step's rewards. a falls by `alpha_down` when accuracy has lost more
    than `acc_drop` within the window; else it rises by `alpha_up`. B becomes `budget_ratio` of the mean of thinking.

    A group alike in verdict, form and thinking gets 0. A rollout without a verdict gets 0 and moves nothing. A step
    without any right rollout enters the mean of thinking as 0 tokens, as in the published code; one without any verdict
    changes nothing. With `scale_rewards: group`, as published, a does not weigh in groups that are right throughout:
    their deviation divides it out.

    The published code counts characters of thinking, four to a token: its budgets of 16384 and at least 2048 characters
    are 4096 and 512 tokens here. It takes a right rollout without a think block for one that thought nothing, which
    earns the full bonus. Here a rollout that did not close its thinking exactly once is wrong. The published form asks
    for a box in place of an end. Its loop is one for each process; here all ranks share one.

    Published settings, which are the defaults: Qwen3-1.7B on MATH and GSM8K, groups of 16, cap 8192, LoRA of rank 16
    and alpha 32, learning rate 5e-6 (cosine), KL 0.001, 1200 steps.
    """

    paper: ClassVar[str] = "https://hf.co/papers/2606.22716"
    needs: ClassVar[str] = "a run of several times `warmup_steps` and `check_window`"

    alpha_init: float = Field(0.02, ge=0)
    """a before the first update."""
    alpha_min: float = Field(0.01, ge=0)
    """The least that a falls to."""
    alpha_max: float = Field(0.5, ge=0)
    """The most that a rises to."""
    alpha_up: float = Field(1.02, ge=1)
    """What a is multiplied by while accuracy holds."""
    alpha_down: float = Field(0.95, gt=0, le=1)
    """What a is multiplied by when accuracy has fallen."""
    acc_drop: float = Field(0.02, ge=0)
    """Fall of the running accuracy within `check_window` steps that counts, 0.02 for two points."""
    ema_span: int = Field(50, ge=1)
    """Steps that the running means reach back: each step weighs 2 / (span + 1)."""
    check_window: int = Field(100, ge=1)
    """Steps that accuracy is compared over; the first and the last are counted."""
    warmup_steps: int = Field(200, ge=0)
    """Optimizer steps before the first update."""
    budget_init: int = Field(4096, ge=1)
    """B in tokens before the first update."""
    budget_ratio: float = Field(0.85, gt=0)
    """B by the running mean of the thinking of right rollouts."""
    budget_min: int = Field(512, ge=1)
    """The least tokens that B falls to."""
    log_scale: float = Field(5.0, ge=0)
    """How much more the last tokens that are spared count than the first; 0: the same."""
    format_weight: float = Field(1.0, ge=0)
    """What a rollout earns for having closed its thinking and ended, right or wrong."""

    @property
    def credit(self) -> Credit:
        """Declare that credit depends on the run so far, and that form is paid."""
        return Credit(scope="run", form=self.format_weight > 0)

    def rewards(self, batch: RolloutBatch) -> Tensor:
        """Return (B,) float64 correctness, form and thinking; NaN where it could not be graded."""
        share_B = batch.think_length.double() / batch.memory["budget"]
        bonus_B = batch.memory["alpha"] * efficiency(share_B, self.log_scale)
        formatted_B = (batch.finished & batch.closed).double()
        return batch.earned * (1 + bonus_B) + self.format_weight * formatted_B

    def initial(self) -> Memory:
        """Start with a and B, and without means."""
        return {"alpha": self.alpha_init, "budget": float(self.budget_init), "accuracies": [], "thinking": 0.0}

    def learn(self, batch: RolloutBatch) -> Memory:
        """Return the running means after the step, and a and B where the loop updates them."""
        accuracy = batch.earned.double().nanmean().item()
        if math.isnan(accuracy):
            return batch.memory
        thinking = batch.think_length[batch.earned == 1].double().mean().nan_to_num(nan=0.0).item()
        memory = self._with_means(batch.memory, accuracy, thinking)
        due = batch.step >= self.warmup_steps and len(memory["accuracies"]) == self.check_window
        return self._updated(memory) if due else memory

    def _with_means(self, memory: Memory, accuracy: float, thinking: float) -> Memory:
        """Move the means by a step. Of the running accuracy the last `check_window` values are kept."""
        accuracies, decay = memory["accuracies"], 2 / (self.ema_span + 1)
        if accuracies:
            accuracy = decay * accuracy + (1 - decay) * accuracies[-1]
            thinking = decay * thinking + (1 - decay) * memory["thinking"]
        return {**memory, "accuracies": [*accuracies, accuracy][-self.check_window :], "thinking": thinking}

    def _updated(self, memory: Memory) -> Memory:
        """Set a and B as the means ask for."""
        fell = memory["accuracies"][0] - memory["accuracies"][-1] > self.acc_drop
        lower, higher = memory["alpha"] * self.alpha_down, memory["alpha"] * self.alpha_up
        alpha = max(self.alpha_min, lower) if fell else min(self.alpha_max, higher)
        budget = max(self.budget_min, self.budget_ratio * memory["thinking"])
        return {**memory, "alpha": alpha, "budget": float(budget) if memory["thinking"] > 0 else memory["budget"]}

    def metrics(self, batch: RolloutBatch) -> dict[str, float]:
        """Report a, B, and the running accuracy of the steps before."""
        means = {"ema_accuracy": batch.memory["accuracies"][-1]} if batch.memory["accuracies"] else {}
        return {"alpha": batch.memory["alpha"], "budget": batch.memory["budget"]} | means
