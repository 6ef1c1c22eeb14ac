"""GRPO on correctness alone: the baseline that every method is compared with."""

from typing import ClassVar

from torch import Tensor

from concise_rl.methods import RolloutBatch, SequenceReward


class Grpo(SequenceReward):
    """Group Relative Policy Optimization (Shao et al., DeepSeekMath), paid for correctness alone.

    Reward 1 or 0; advantage `(r - mean) / (std + 1e-4)` over the group, TRL's own bit for bit. A group without a signal
    (all right or all wrong) gets 0.
    """

    paper: ClassVar[str] = "https://hf.co/papers/2402.03300"

    def rewards(self, batch: RolloutBatch) -> Tensor:
        """(B,) 1 for a correct and finished rollout, else 0."""
        return batch.earned
