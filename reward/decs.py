"""DECS: every token of a right rollout has the full reward, but for those thought after the answer was stated."""

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from concise_rl.methods import Credit, Label, Objective, Parts, RolloutBatch, RunContext, group_advantages

RedundantReward = Literal["code", "paper"]


def shortened_rewards(correct_B: Tensor, used_B: Tensor, beta: float, form: RedundantReward) -> Tensor:
    """(B,) what a right rollout's redundant tokens earn: less, the longer the whole of it is.

    Args:
        correct_B: (B,) 1, 0 or NaN.
        used_B: (B,) share of the cap that the rollout has used.
        beta: weight of the length.
        form: `code`: `1 + beta * (1 - used)`, as released; `paper`: `1 - beta * used`, as its equation 9 is printed.
    """
    return correct_B + beta * ((1 - used_B) if form == "code" else -used_B)


def token_rewards(correct_B: Tensor, shortened_B: Tensor, span_B2: Tensor, width: int, beta: float) -> Tensor:
    """(B, width) rewards by token, on the padding too: a right rollout that has ended goes on holding `1 + beta`.

    Args:
        correct_B: (B,) 1, 0 or NaN, which stays NaN.
        shortened_B: (B,) the reward of the tokens in the span, where the rollout is right.
        span_B2: (B, 2) start and end of a span of tokens; equal where there are none.
        width: T.
        beta: what is added to the reward of the other tokens of a right rollout.
    """
    place_T = torch.arange(width, device=correct_B.device)
    in_span_BT = (place_T >= span_B2[:, :1]) & (place_T < span_B2[:, 1:]) & (correct_B == 1)[:, None]
    return torch.where(in_span_BT, shortened_B[:, None], (correct_B * (1 + beta))[:, None])


class Decs(Objective):
    """Decoupled Rewards and Curriculum Scheduling (DECS, Jiang et al.): redundant tokens, and only these, earn less.

    A judge finds the first passage of a right rollout's thinking that states the gold answer; thinking after it is
    redundant. A right rollout earns `1 + beta` for every token, redundant ones excepted, which earn
    `1 + beta * (1 - L / L_max)`: L the tokens of the whole rollout, L_max the cap. A wrong rollout earns 0 for every
    token. Advantages are taken column by column: the rewards of a group's rollouts at the same place, minus their mean,
    over their standard deviation (unbiased) + `eps`. A rollout that has ended holds its reward in the columns behind
    its end as well, so that who still thinks on there is compared with those that were done.

    A column whose rewards are all equal gets exactly 0, and so does a group that is all wrong, or all right without
    redundancy. In a group that is all right `beta` cancels: redundant tokens are pushed down as hard as the deviation
    of a column allows. In a mixed group they may be above the mean, since wrong rollouts earn far less; that is why the
    method comes with a curriculum for the share of all-right groups. A rollout without a verdict gets 0 and stays out
    of the statistics. One whose thinking never states the answer has no redundancy.

    Code and paper differ: the paper prints `1 - beta * L / L_max` for redundant tokens, the released code pays `beta`
    more. Default: the code's (`redundant_reward`). Not as in the code: L_max there is the width to which the batch is
    padded, here the cap; a group of one, which has no others to compare with, gets 0 here and its reward there. The
    code's float32 makes noise of columns that are equal; here it is float64 throughout.

    Ablation: `decoupled: false` gives all tokens of a right rollout, padding too, the reward of the redundant ones.
    That is a length reward on the whole rollout, `1 + beta * (1 - L / L_max)`, whose advantages are GRPO's.

    Published settings: learning rate 2e-6, 64 prompts x 16 of DeepScaleR, temperature 0.6, cap 16384, no KL, clip 0.2
    on both sides, mean over the tokens of the batch (loss_type dapo), and a dual clip at 3, which is TRL's `delta: 3.0`
    (read by loss_type grpo, bnpo, dr_grpo, dapo and luspo, not by cispo, sapo and vespo); its judge is a model of 1.5B
    parameters trained for this, its curriculum `kappa`.
    """

    paper: ClassVar[str] = "https://hf.co/papers/2509.25827"
    needs: ClassVar[str] = "a judge of what thinking states the answer; published with curriculum kappa and delta 3.0"

    beta: float = Field(0.1, ge=0, le=1)
    """What a token that is not redundant earns beyond correctness, and the weight of the length for one that is."""
    redundant_reward: RedundantReward = "code"
    """What redundant tokens earn: as in the released code, or as the paper prints it, which is `beta` less."""
    decoupled: bool = True
    """Whether redundant tokens alone earn by length. False, for comparison: all tokens of a right rollout."""
    eps: float = Field(1e-6, gt=0)
    """Added to the standard deviation of a column."""

    @property
    def credit(self) -> Credit:
        """By token."""
        return Credit(by_token=True)

    def parts(self, run: RunContext) -> Parts:
        """Label redundant tokens, chunk by chunk."""
        return Parts(stages=(Label("chunk"),))

    def token_rewards(self, batch: RolloutBatch, width: int) -> Tensor:
        """(B, width) float64 rewards; NaN where the verifier could not judge."""
        assert batch.redundant is not None, "rollouts are labelled for a method that asks for it"
        earned_B, used_B = batch.earned.double(), batch.length.double() / batch.max_length
        shortened_B = shortened_rewards(earned_B, used_B, self.beta, self.redundant_reward)
        span_B2 = batch.redundant if self.decoupled else torch.zeros_like(batch.redundant)
        if not self.decoupled:
            span_B2[:, 1] = width
        return token_rewards(earned_B, shortened_B, span_B2, width, self.beta)

    def advantages(self, batch: RolloutBatch) -> Tensor:
        """(B, T) advantages by column, T the longest rollout; on padding too."""
        rewards_BT = self.token_rewards(batch, int(batch.length.max()))
        # Group by group: what the normalisation needs beside its input is then a group's size, not the batch's.
        groups = rewards_BT.split(batch.num_generations)
        return torch.cat([group_advantages(group_GT.T, eps=self.eps).T.to(batch.correct.dtype) for group_GT in groups])

    def metrics(self, batch: RolloutBatch) -> dict[str, float]:
        """Share of the tokens of right rollouts that is redundant. Nothing where none is right."""
        assert batch.redundant is not None, "rollouts are labelled for a method that asks for it"
        right_B = batch.earned == 1
        if not right_B.any():
            return {}
        redundant = batch.redundant[right_B].diff(dim=1).sum().item()
        return {"redundant_tokens": redundant / batch.length[right_B].sum().item()}
