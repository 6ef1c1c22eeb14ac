"""The part of the trainer that hands finished rollouts to TRL, which then "generates" and "scores" them.

Read at TRL 1.16: `_generate_and_score_completions` asks `rollout_func` for completions (grpo_trainer.py, `_generate`)
and the reward functions for rewards, pads both, and computes old and reference log-probabilities.
"""

from typing import Any

from torch import Tensor
from trl import GRPOTrainer

from concise_rl.methods import StopReason
from concise_rl.train.credit import Credited
from concise_rl.train.gather import World, loss_mask
from concise_rl.train.sampling import Sampler


class HandOver(GRPOTrainer):
    """Hands TRL the rollouts of the batch that was made last."""

    credited: Credited
    """The batch that was made last."""
    rollouts: Sampler
    world: World

    def _scored_by_trl(self) -> dict[str, Any]:
        """Let TRL "generate" and "score" what is there already."""
        # The prompt alone: TRL hands all columns on, under names of its own.
        prompts = [{"prompt": row["prompt"]} for row in self.credited.judged.rows]
        return super()._generate_and_score_completions(prompts)

    def _mine(self, values_B: Tensor) -> Tensor:
        """Return this rank's share of what is known of the batch."""
        return self.world.mine(values_B, len(self.credited.judged.rows))

    def _rollout(self, prompts: list, trainer: GRPOTrainer) -> dict[str, Any]:
        """Return the completions, in the form of a TRL rollout function."""
        judged, kept_B = self.credited.judged, self._mine(self.credited.kept_B)
        masks = [loss_mask(rollout, kept) for rollout, kept in zip(judged.rollouts, kept_B.tolist(), strict=True)]
        wanted = self.rollouts.collector.sampling.logprobs
        output = {
            "prompt_ids": judged.prompt_ids,
            "completion_ids": [rollout.ids for rollout in judged.rollouts],
            "logprobs": [rollout.logprobs for rollout in judged.rollouts] if wanted else None,
        }
        return output if all(map(all, masks)) else output | {"env_mask": masks}

    def correct(self, prompts: list, completions: list, completion_ids: list, **columns: Any) -> list[float | None]:
        """Return the verdicts, in the form of a TRL reward function. What was given up counts as 0 here: TRL would
        print a warning for every row without a reward."""
        judged = self.credited.judged
        return [
            0.0 if rollout.stop_reason is StopReason.ABORTED else verdict
            for rollout, verdict in zip(judged.rollouts, judged.verdicts, strict=True)
        ]
