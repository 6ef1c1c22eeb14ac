"""AdaptThink: a part of each group skips its thinking, and the model learns which problems need any."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from concise_rl.methods import Column, Credit, ForcedFirst, LossInputs, Objective, Parts, RolloutBatch, RunContext

NEVER = -1e9
"""The log-probability of what is never forced."""


@dataclass(frozen=True)
class FirstTokenLoss:
    """Clip the importance ratio of whole rollouts, the first token of which was forced (AdaptThink, https://hf.co/papers/2505.13417).

    The ratio of a rollout is the exponential of the mean log-ratio of its tokens. The old log-probability of the first
    token is that of having been forced to it, not the model's own. So the model learns a beginning, too, that it would
    never choose. An evaluation forces nothing and keeps the model's own.

    Attributes:
        share: of the rollouts that were forced to skip their thinking.
    """

    share: float
    facts: ClassVar[tuple[str, ...]] = ("forced_first",)

    def old_log_probs(self, inputs: LossInputs) -> Tensor:
        """(B, T) old log-probabilities, the first token's replaced."""
        if "forced_first" not in inputs.facts:
            return inputs.old_log_probs_BT
        of_skipping, of_thinking = torch.tensor([self.share, 1 - self.share]).log().clamp(min=NEVER).tolist()
        old_BT = inputs.old_log_probs_BT.clone()
        old_BT[:, 0] = torch.where(inputs.facts["forced_first"] == 1, of_skipping, of_thinking)
        return old_BT

    def __call__(self, inputs: LossInputs) -> Tensor:
        """Return (B, T) the loss of a rollout at each of its tokens."""
        log_ratio_BT = inputs.log_probs_BT - self.old_log_probs(inputs)
        count_B1 = inputs.mask_BT.sum(dim=1, keepdim=True).clamp(min=1)
        ratio_B1 = ((log_ratio_BT * inputs.mask_BT).sum(dim=1, keepdim=True) / count_B1).exp()
        clipped_B1 = ratio_B1.clamp(1 - inputs.epsilon_low, 1 + inputs.epsilon_high)
        advantage_B1 = inputs.advantages_BT[:, :1]
        return -torch.minimum(ratio_B1 * advantage_B1, clipped_B1 * advantage_B1).expand_as(log_ratio_BT)


def adaptthink_advantages(correct_B: Tensor, reference_B: Tensor, skips_B: Tensor, delta: float) -> Tensor:
    """(B,) `correct - reference + delta` where thinking was skipped, without `delta` elsewhere; 0 where `correct` is
    NaN."""
    return (correct_B - reference_B + delta * skips_B).nan_to_num(nan=0.0)


class AdaptThink(Objective):
    """AdaptThink: Reasoning Models Can Learn When to Think (Zhang et al.): skip the thinking where that costs nothing.

    Half of each group is forced to begin with `skip_text`, which closes the thinking before it has begun; the other
    half begins with `think_text`. Advantage: correctness, minus the accuracy on that problem of the model that training
    began with, plus `delta` where thinking was skipped. There is no baseline of the group and no standard deviation.
    The loss is clipped by whole rollouts, and the first token counts as drawn with probability `share`, see
    `FirstTokenLoss`. A rollout without a verdict gets 0.

    The accuracy is a column of the data, `column`, a number from 0 to 1. To make it, sample the training problems with
    `concise-rl eval`, and train on `selected:solve_rate?samples=FILE`, FILE being the samples of one model there.

    Set `loss_type: grpo`: the published loss is a mean over rollouts, whatever their length.

    Published settings: delta 0.05, groups of 16, of which 8 skip and may have 4096 tokens, 128 prompts a step. Cap
    16384, learning rate 2e-6, temperature 0.6, no KL. The accuracy is that of 16 samples, and thinking begins with
    "Alright". Not as in the published code: a right answer counts only where it ends by itself, as everywhere here.
    """

    paper: ClassVar[str] = "https://hf.co/papers/2505.13417"
    needs: ClassVar[str] = (
        "a column with the model's accuracy on each problem, loss_type grpo, and whole groups on each rank"
    )

    delta: float = Field(0.05, ge=0)
    """What skipping the thinking earns. By so much accuracy may fall where that saves all thinking."""
    share: float = Field(0.5, gt=0, lt=1)
    """Share of each group that skips."""
    skip_text: str = Field("</think>", min_length=1)
    """What rollouts that skip their thinking begin with; holds think_end."""
    think_text: str = Field("Alright", min_length=1)
    """What the others begin with: a likely beginning of this model's thinking."""
    skip_max_tokens: int | None = Field(None, ge=2)
    """Cap on the tokens of a rollout that skips. Unset: max_completion_length."""
    column: str = Field("ref_accuracy", min_length=1)
    """Column of the data with the accuracy of the model that training begins with."""

    @property
    def credit(self) -> Credit:
        """Each rollout by itself."""
        return Credit(scope="rollout")

    def parts(self, run: RunContext) -> Parts:
        """Force the first tokens, read the accuracy, clip by rollouts."""
        texts = (run.encode(self.skip_text), run.encode(self.think_text))
        plan = ForcedFirst(*texts, run.num_generations, self.share, self.skip_max_tokens)
        reference = Column(self.column, "it holds the accuracy of the model on each problem before training")
        return Parts(plan=plan, stages=(reference,), loss=FirstTokenLoss(plan.num_forced / run.num_generations))

    def skips(self, batch: RolloutBatch) -> Tensor:
        """(B,) 1 where the thinking was skipped: by force, or, where nothing was forced, by the model's own choice."""
        return batch.facts.get("forced_first", (batch.closed & (batch.think_length == 0)).to(batch.correct))

    def advantages(self, batch: RolloutBatch) -> Tensor:
        """(B,) correctness against the model's own before training."""
        return adaptthink_advantages(batch.earned, batch.fact(self.column), self.skips(batch), self.delta)

    def metrics(self, batch: RolloutBatch) -> dict[str, float]:
        """Share of the rollouts that skip their thinking, and the accuracy of these and of the others."""
        skips_B = self.skips(batch) == 1
        groups = {"right_skipping": batch.earned[skips_B], "right_thinking": batch.earned[~skips_B]}
        right = {name: earned.nanmean().item() for name, earned in groups.items() if not earned.isnan().all()}
        return {"skipping": skips_B.double().mean().item(), **right}
