"""ThinkPrune: a cap on tokens that is lowered in stages."""

from itertools import pairwise
from typing import ClassVar

from pydantic import Field, field_validator
from torch import Tensor

from concise_rl.methods import Credit, RolloutBatch, SequenceReward


class ThinkPrune(SequenceReward):
    """ThinkPrune: Pruning Long Chain-of-Thought of LLMs via Reinforcement Learning (Hou et al.): nothing but a cap.

    Rollouts are clipped at the limit of the stage, which falls every `stage_steps` steps. The reward is correctness of
    what is there: a rollout that was clipped after it had shown its answer *is* paid, no EOS needed; one that was
    clipped before earns 0. Advantages are GRPO's; a group without a signal gets 0.

    Published: limits 4000, 3000, 2000; groups of 16, 128 prompts a step, learning rate 1e-6, KL 0.001, 10 epochs a
    stage of the AIME and AMC problems in Eurus-2-RL-Data. There a stage starts from the best checkpoint of the one
    before; here it goes on from the last step. There the system prompt names the limit of the stage; here prompts stay
    as they are. An answer counts here, as everywhere, only behind the closing think delimiter.
    """

    paper: ClassVar[str] = "https://hf.co/papers/2504.01296"

    limits: tuple[int, ...] = Field((4000, 3000, 2000), min_length=1)
    """Cap on completion tokens in each stage, falling. The recipe's max_completion_length holds where it is lower."""
    stage_steps: int = Field(100, ge=1)
    """Optimizer steps of each stage; the last goes on to the end of the run. The paper gives epochs, not steps."""

    @field_validator("limits")
    @classmethod
    def _falling(cls, limits: tuple[int, ...]) -> tuple[int, ...]:
        if any(later >= earlier for earlier, later in pairwise(limits)) or min(limits, default=1) < 1:
            raise ValueError("each limit must be below the one before it, and at least 1")
        return limits

    @property
    def credit(self) -> Credit:
        """A right answer counts wherever the cap falls."""
        return Credit(unfinished=True)

    def cap(self, step: int, max_length: int) -> int:
        """The limit of the stage that `step` lies in."""
        return min(max_length, self.limits[min(step // self.stage_steps, len(self.limits) - 1)])

    def rewards(self, batch: RolloutBatch) -> Tensor:
        """(B,) 1 for a correct rollout, finished or not, else 0."""
        return batch.correct

    def metrics(self, batch: RolloutBatch) -> dict[str, float]:
        """The limit, and the share of the rollouts that were clipped and paid all the same."""
        paid_B = ~batch.finished & (batch.correct == 1)
        return {"limit": float(batch.max_length), "clipped_and_paid": paid_B.double().mean().item()}
