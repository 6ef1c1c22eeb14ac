"""MRT: an episode of thinking earns by how much nearer it has brought the answer."""

from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from concise_rl.methods import (
    BeforeWords,
    Credit,
    Objective,
    Parts,
    Probed,
    RolloutBatch,
    RunContext,
    ScaleRewards,
    group_advantages,
)


def progress(worth_BW: Tensor) -> Tensor:
    """(B, W - 1) what each episode adds to the worth of the thinking; 0 where the worth before or behind it is NaN."""
    return worth_BW.diff(dim=1).nan_to_num(nan=0.0)


def progress_by_token(at_BW: Tensor, worth_BW: Tensor, width: int) -> Tensor:
    """(B, width) the progress of the episode that a token belongs to; 0 outside of episodes.

    Args:
        at_BW: (B, W) tokens before each place, ascending, then -1. An episode lies between a place and the next.
        worth_BW: (B, W) expected reward of an answer at each place; NaN where there is none.
        width: T.
    """
    place_BW = at_BW.masked_fill(at_BW < 0, width)
    token_BT = torch.arange(width).expand(len(at_BW), -1).contiguous()
    places_before_BT = torch.searchsorted(place_BW, token_BT, right=True)
    # None before the first place, and none behind the last.
    return nn.functional.pad(progress(worth_BW), (1, 1)).gather(1, places_before_BT)


class Mrt(Objective):
    """Meta Reinforcement Fine-Tuning (MRT, Qu et al.): reward the progress that each episode of thinking makes.

    Thinking is cut into episodes before sentences with words of reflection, at most `max_episodes` of them. Before the
    first episode and behind each, thinking is closed by `exit_text` and answered `answers` times. The share of right
    answers, J, is what the thinking so far is worth. The advantage of a token is GRPO's for correctness, plus
    `alpha * (J behind its episode - J before it)`. Tokens of the answer have the first part alone. So an episode that
    changes nothing earns nothing, and one that loses an answer that was there pays for it.

    A rollout without a verdict gets 0. A group that is all right, or all wrong, still has the second part. Evaluation
    during training samples plainly, without answers on the way.

    The paper adds the bonus once, at the end of a rollout that goes on from a prefix of an older policy. The form here
    is that of the authors' later release (MRT-online): by episode, on the policy's own rollouts. Its settings: alpha
    1.0, at most 6 episodes, 4 answers at each place, cap 16384, temperature 0.9. It took 248 steps on 4,000 NuminaMath
    problems. We have seen its description, not its code. Ours: correctness is GRPO's, and where there are more than 6
    episodes, the places are evenly spread over them. The paper's analysis forces a longer sentence.
    """

    paper: ClassVar[str] = "https://hf.co/papers/2503.07572"
    needs: ClassVar[str] = "an exit_text that the model can go on from, and time: every place is answered"

    alpha: float = Field(1.0, ge=0)
    """Weight of the progress."""
    max_episodes: int = Field(6, ge=1)
    """Most episodes of a rollout."""
    answers: int = Field(4, ge=1)
    """Answers at each place."""
    exit_text: str = Field("Time is up.\n</think>\n\n", min_length=1)
    """What is forced at each place; holds think_end once."""
    answer_max_tokens: int = Field(512, ge=1)
    """Most tokens of such an answer, EOS included. They and exit_text count in max_completion_length."""
    scale_rewards: ScaleRewards = "group"
    """What the group-centred correctness is divided by. With `none` it and the progress are on one scale."""

    @property
    def credit(self) -> Credit:
        """By token."""
        return Credit(by_token=True)

    def parts(self, run: RunContext) -> Parts:
        """Answer before, between and behind the episodes of each rollout."""
        plan = Probed(
            run.delimiters,
            run.encode(self.exit_text),
            self.answer_max_tokens,
            BeforeWords(run.text_of),
            self.answers,
            most=self.max_episodes - 1,
            from_start=True,
        )
        return Parts(plan=plan)

    def bonus(self, batch: RolloutBatch, width: int) -> Tensor:
        """(B, width) progress by token; 0 in rollouts without a verdict, and where nothing was answered on the way."""
        if "probe_at" not in batch.facts:
            return batch.correct.new_zeros(len(batch.correct), width)
        bonus_BT = progress_by_token(batch.fact("probe_at"), batch.fact("probe_correct"), width)
        return bonus_BT.masked_fill(batch.earned.isnan()[:, None], 0.0)

    def advantages(self, batch: RolloutBatch) -> Tensor:
        """(B, T) correctness against the group's, and progress by token; T the longest rollout."""
        outcome_B = group_advantages(batch.grouped(batch.earned), self.scale_rewards).flatten()
        return outcome_B[:, None] + self.alpha * self.bonus(batch, int(batch.length.max()))

    def metrics(self, batch: RolloutBatch) -> dict[str, float]:
        """Episodes of a rollout, what an answer is worth before and behind the thinking, and the share of the episodes
        that change nothing. Nothing for rollouts that were sampled plainly."""
        if "probe_at" not in batch.facts:
            return {}
        count_B = (batch.fact("probe_at") >= 0).sum(dim=1)
        worth_BW = batch.fact("probe_correct")
        last_B = worth_BW.gather(1, (count_B - 1).clamp(min=0)[:, None])
        changes = worth_BW.diff(dim=1)
        return {
            "episodes": (count_B - 1).clamp(min=0).double().mean().item(),
            "worth_at_start": worth_BW[:, 0].nanmean().item(),
            "worth_at_end": last_B.nanmean().item(),
            "idle_episodes": (changes[~changes.isnan()] == 0).double().mean().item(),
        }
