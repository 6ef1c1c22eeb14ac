"""S-GRPO: one path cut at several exits; the first exits that are right earn most."""

from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from concise_rl.methods import (
    Objective,
    Parts,
    RolloutBatch,
    RunContext,
    SerialExits,
    StopReason,
    Uniform,
    group_advantages,
)


def serial_rewards(correct_PG: Tensor, decay: float, only_shortest: bool = False) -> Tensor:
    """(P, G) rewards that fall along the correct members of each group: 1, 1 / decay, 1 / decay^2, ...

    Args:
        correct_PG: (P, G) verdicts, front to back: exits by position, then the full path. Wrong members, and those
            without a verdict (NaN), use up no step.
        decay: what each correct member's reward is over the next one's.
        only_shortest: whether all correct members but the first earn 0.
    """
    right_PG = correct_PG == 1
    before_PG = right_PG.cumsum(dim=1).to(correct_PG.dtype) - 1
    earned_PG = (before_PG == 0).to(correct_PG.dtype) if only_shortest else decay**-before_PG
    return torch.where(right_PG, earned_PG, correct_PG)


class SGrpo(Objective):
    """S-GRPO: Early Exit via Reinforcement Learning in Reasoning Models (Dai, Yang & Si): exits of one path, graded.

    A group is one path and its exits, see `SerialExits`: the path's thinking is cut at num_generations - 1 places drawn
    uniformly from its tokens, each cut is closed by `exit_text` and answered. From the earliest exit to the full path
    the correct members earn 1, 1/2, 1/4, ...; wrong ones earn 0 and use up no step. Advantage: reward minus the group's
    mean, over no standard deviation. All tokens of a member have its advantage. An all-wrong group gets 0.

    No code is published. What the paper leaves open is read here so:

    8 is the number of members, as "128 x 8" suggests, not of exits: the path and num_generations - 1 exits.

    All tokens of a member are trained on, forced ones included (`train_prefix`, `train_exit_text`), as in two
    independent ports and in JET's code. Since advantages sum to 0 over a group, the weight of a thinking token is then
    minus the sum of the advantages of the exits before it: what comes behind right exits is discouraged, what comes
    behind wrong ones encouraged. The exit text is not sampled; where an exit's advantage is positive, it is learnt as
    a demonstration is.

    An answer may be `answer_max_tokens` long; one that does not end within them is wrong. A path that its cap cut off
    is wrong, and its exits count.

    The paper's loss takes the mean over each member's own tokens (loss_type: grpo), so that a token weighs more on a
    short member. TRL's default (dapo) weighs all tokens alike; what is said above of sums holds for it. No KL term.
    Published settings: 128 paths x 8, learning rate 1e-6. Its ablations: `decay: 1`, and `only_shortest`.

    A rollout without a verdict gets 0. In evaluation during training rollouts are sampled plainly, without exits.
    """

    paper: ClassVar[str] = "https://hf.co/papers/2505.07686"
    needs: ClassVar[str] = "whole groups on each rank, and an exit_text that the model can go on from"

    decay: float = Field(2.0, ge=1)
    """How many times the reward of a correct member is that of the next correct one. 1: all correct ones earn 1."""
    only_shortest: bool = False
    """Whether only the first correct member earns anything."""
    exit_text: str = Field("Time is limited, stop thinking and start answering.\n</think>\n\n", min_length=1)
    """What is forced behind each cut; holds think_end once."""
    answer_max_tokens: int = Field(512, ge=1)
    """Most tokens of an exit's answer, EOS included. They and exit_text count in max_completion_length."""
    earliest_exit: float = Field(0.0, ge=0, lt=1)
    """Share of the thinking that every exit keeps. The paper: 0, exits may be anywhere."""
    train_prefix: bool = True
    """Whether the thinking is trained on with the advantages of its exits; it is with the path's in any case."""
    train_exit_text: bool = True
    """Whether the forced exit text is trained on."""

    def parts(self, run: RunContext) -> Parts:
        """A path and its exits."""
        plan = SerialExits(
            run.delimiters,
            run.encode(self.exit_text),
            self.answer_max_tokens,
            Uniform(run.num_generations - 1, self.earliest_exit),
            self.train_prefix,
            self.train_exit_text,
        )
        return Parts(plan=plan)

    def rewards(self, batch: RolloutBatch) -> Tensor:
        """(B,) decaying rewards; NaN where the verifier could not judge."""
        return serial_rewards(batch.grouped(batch.earned), self.decay, self.only_shortest).flatten()

    def advantages(self, batch: RolloutBatch) -> Tensor:
        """(B,) rewards minus their group's mean."""
        return group_advantages(batch.grouped(self.rewards(batch)), "none").flatten()

    def metrics(self, batch: RolloutBatch) -> dict[str, float]:
        """Of the exits: mean position, share that is right among those judged, and mean position of each group's first
        right one, where there are any. Positions are thinking tokens, with those of the exit text before its
        delimiter. Nothing for rollouts that were sampled plainly."""
        exit_PG = batch.grouped(batch.stop_reason == StopReason.FORCED_EXIT)
        if not exit_PG.any():
            return {}
        earned_PG, think_PG = batch.grouped(batch.earned), batch.grouped(batch.think_length).double()
        right_PG = exit_PG & (earned_PG == 1)
        first_PG = right_PG & (right_PG.cumsum(dim=1) == 1)
        found = {"first_right_exit": think_PG[first_PG].mean().item()} if first_PG.any() else {}
        return {
            "exit_position": think_PG[exit_PG].mean().item(),
            "exits_right": earned_PG[exit_PG].nanmean().item(),
            **found,
        }
