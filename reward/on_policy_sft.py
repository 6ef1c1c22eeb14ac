"""On-Policy SFT: cross-entropy on the model's own right rollouts under a hard cap, and nothing else."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from concise_rl.methods import Credit, LossInputs, Objective, Parts, RolloutBatch, RunContext


@dataclass(frozen=True)
class CrossEntropy:
    """The negative log-probability of each token times its advantage, whatever the policy was that sampled it."""

    facts: tuple[str, ...] = ()

    def __call__(self, inputs: LossInputs) -> Tensor:
        """(B, T) the loss."""
        return -inputs.advantages_BT * inputs.log_probs_BT


class OnPolicySft(Objective):
    """On-Policy Supervised Fine-Tuning for Efficient Reasoning (https://hf.co/papers/2602.13407).

    A rollout that is right and ended by itself has advantage 1 and the loss `CrossEntropy`. All others leave the loss,
    and its normaliser too. There is no baseline and no length term: the cap of the recipe, under which long rollouts
    count as wrong, is what shortens. A group that is right throughout is trained on as any other.

    Published: a cap of 3,500 tokens, groups of 32, 32 prompts, learning rate 1e-6, no divergence from a reference
    policy, and a step for every 8 rollouts that are left. Here a step is made of a fixed number of rollouts, of which
    those that are left count. A curriculum that looks for groups with right and wrong members finds none.
    """

    paper: ClassVar[str] = "https://hf.co/papers/2602.13407"
    needs: ClassVar[str] = "a max_completion_length that the model often exceeds (published: 3,500), and loss_type dapo"

    @property
    def credit(self) -> Credit:
        """Each rollout stands for itself."""
        return Credit(scope="rollout")

    def parts(self, run: RunContext) -> Parts:
        """Return plain sampling with cross-entropy as the loss."""
        return Parts(loss=CrossEntropy())

    def advantages(self, batch: RolloutBatch) -> Tensor:
        """(B,) 1 for a right and finished rollout, else 0."""
        return (batch.earned == 1).to(batch.earned.dtype)

    def kept_length(self, batch: RolloutBatch) -> Tensor:
        """(B,) whole rollouts that are right and finished, nothing of the others."""
        return batch.length * (batch.earned == 1)

    def metrics(self, batch: RolloutBatch) -> dict[str, float]:
        """The share of the rollouts that is trained on."""
        return {"trained": (batch.earned == 1).double().mean().item()}
