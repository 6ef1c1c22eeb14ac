"""Elastic Reasoning: thinking on a budget, closed by force when it is spent."""

from typing import ClassVar

from pydantic import Field
from torch import Tensor

from concise_rl.methods import Parts, RolloutBatch, RunContext, SequenceReward, StopReason, ThinkingBudget


class Elastic(SequenceReward):
    """Scalable Chain of Thoughts via Elastic Reasoning (Xu et al.): learn to answer from thinking that was cut short.

    The method is how rollouts come about, see `ThinkingBudget`: at most `think_tokens` of thinking, closed by force if
    the model has not closed it, then at most `answer_tokens` of answer. The reward is correctness alone and the
    advantages are GRPO's: a group without a signal gets 0. The forced delimiter is trained on.

    Published settings: 1024 + 1024 tokens, groups of 8, 128 prompts a step in minibatches of 64, learning rate 1e-6,
    KL 0.001, temperature 0.6, 200 steps from DeepScaleR-1.5B-Preview. Here an answer that does not end within its
    budget earns nothing, as everywhere.
    """

    paper: ClassVar[str] = "https://hf.co/papers/2505.05315"
    needs: ClassVar[str] = "a max_completion_length that holds both budgets and the closing delimiter"

    think_tokens: int = Field(1024, ge=1)
    """Most tokens of thinking, the model's own closing delimiter included."""
    answer_tokens: int = Field(1024, ge=1)
    """Most tokens after the closing delimiter, EOS included."""

    def parts(self, run: RunContext) -> Parts:
        """Thinking and answer, sampled with a cap each."""
        return Parts(plan=ThinkingBudget(self.think_tokens, self.answer_tokens, run.delimiters))

    def rewards(self, batch: RolloutBatch) -> Tensor:
        """(B,) 1 for a correct and finished rollout, else 0."""
        return batch.earned

    def metrics(self, batch: RolloutBatch) -> dict[str, float]:
        """Share of the rollouts whose thinking was closed by force."""
        return {"forced": (batch.stop_reason == StopReason.THINK_BUDGET).double().mean().item()}
