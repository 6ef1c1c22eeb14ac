"""LC-R1: train on right rollouts without what they thought after the answer, and pay for closing the thinking there."""

from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from concise_rl.methods import Credit, Crop, Label, Objective, Parts, RolloutBatch, RunContext, group_advantages

SMALL = 1e-4
"""Added to both denominators, as in the published code."""


def lc_r1_rewards(
    correct_PG: Tensor, formatted_PG: Tensor, last_PG: Tensor, format_weight: float, len_coef: float, pay_wrong: bool
) -> Tensor:
    """(P, G) rewards by correctness, form, and length relative to the longest right member of the group.

    Args:
        correct_PG: (P, G) verdicts; NaN stays NaN and counts nowhere.
        formatted_PG: (P, G) 1 for an answer in due form, else 0.
        last_PG: (P, G) index of the EOS.
        format_weight, len_coef, pay_wrong: see `LcR1`.
    """
    right_PG, last_PG = correct_PG == 1, last_PG.double()
    longest_P1 = last_PG.masked_fill(~right_PG, 0).amax(dim=1, keepdim=True)
    spared_PG = 1 - last_PG / (longest_P1 + SMALL)
    paid_PG = right_PG.any(dim=1, keepdim=True) if pay_wrong else right_PG
    length_PG = (len_coef * spared_PG).masked_fill(~paid_PG, 0).to(correct_PG.dtype)
    return correct_PG + format_weight * formatted_PG + length_PG


def think_end_bonus(right_B: Tensor, kept_B: Tensor, thought_B: Tensor, stated_B: Tensor, coef: float) -> Tensor:
    """(B,) credit of the closing delimiter of right rollouts: the share of the thinking that was taken out, or -1.

    Args:
        right_B: (B,) bool; the others get 0.
        kept_B, thought_B: (B,) tokens of thinking that are left, and that there were.
        stated_B: (B,) bool; whether the thinking states the answer. Where not, the bonus is -1.
        coef: its weight.
    """
    spared_B = 1 - kept_B.double() / (thought_B.double() + SMALL)
    return (coef * spared_B).masked_fill(~stated_B, -coef).masked_fill(~right_B, 0)


def with_bonus(advantage_B: Tensor, bonus_B: Tensor, place_B: Tensor, width: int) -> Tensor:
    """(B, width) each rollout's advantage at all of its tokens, and its bonus added at one of them."""
    is_place_BT = torch.arange(width, device=place_B.device) == place_B[:, None]
    return advantage_B[:, None] + bonus_B.to(advantage_B.dtype)[:, None] * is_place_BT


class LcR1(Objective):
    """Optimizing Length Compression in Large Reasoning Models (LC-R1, Cheng et al.): crop behind the stated answer.

    A judge finds the first sentence of a right rollout's thinking that states the gold answer; what is thought after it
    is taken out, and the rollout trained on as if it had closed its thinking there. All of this reads the cropped
    rollout. Reward: 1 for a right answer, `format_weight` for due form, and for a right rollout
    `len_coef * (1 - L / L_right)`: L the index of its EOS, L_right that of the group's longest right one. Advantage:
    reward minus the group's mean, over no standard deviation, at all tokens. Added at the first token of the closing
    delimiter of a right rollout: `think_end_coef` times the share of the thinking that was taken out, or minus
    `think_end_coef` where the thinking never states the answer; such a rollout is not cropped.

    A group that is all wrong in like form gets 0; one that is all right and of one length gets the bonus alone, which
    no group mean is taken from. A rollout without a verdict gets 0 and counts nowhere.

    The published code pays the length term to wrong rollouts of a group that has right ones, too, and charges those
    longer than all right ones without bound: `pay_wrong: true` is that. Default: right rollouts alone. It takes for L
    the padded width where there is no EOS, here that is the rollout's own length, the cap. It calls formatted what
    closes its thinking once; here that has to have ended by itself as well, as everywhere.

    Published settings: learning rate 2e-6, groups of 8, cap 8192, one epoch, gradient norm at most 0.1, and what TRL
    had as defaults then: loss_type bnpo, KL 0.04, temperature 0.9. Its judge is a model that copies the thinking up to
    and with the sentence.
    """

    paper: ClassVar[str] = "https://hf.co/papers/2506.14755"
    needs: ClassVar[str] = "a judge of what thinking states the answer"

    len_coef: float = Field(1.0, ge=0)
    """Weight of the length within the group."""
    think_end_coef: float = Field(1.0, ge=0)
    """Weight of the bonus at the closing delimiter."""
    format_weight: float = Field(1.0, ge=0)
    """What a rollout earns for having closed its thinking and ended, right or wrong."""
    pay_wrong: bool = False
    """Whether the length term is paid to wrong rollouts, too, as in the published code."""

    @property
    def credit(self) -> Credit:
        """Form is paid, and with `pay_wrong` the length of wrong rollouts, too."""
        return Credit(wrong=self.pay_wrong, form=True, by_token=True)

    def parts(self, run: RunContext) -> Parts:
        """Train without the sentences behind the first that states the answer."""
        return Parts(stages=(Label("sentence"), Crop()))

    def rewards(self, batch: RolloutBatch) -> Tensor:
        """(B,) correctness, form and length; NaN where the verifier could not judge."""
        formatted_B = batch.finished & batch.closed
        last_B = (batch.length - batch.finished.to(batch.length)).clamp(min=0)
        columns = (batch.grouped(t) for t in (batch.earned, formatted_B.to(batch.earned), last_B))
        return lc_r1_rewards(*columns, self.format_weight, self.len_coef, self.pay_wrong).flatten()

    def bonus(self, batch: RolloutBatch) -> Tensor:
        """(B,) credit of the closing delimiter."""
        assert batch.redundant is not None and batch.necessary is not None, "rollouts are labelled for it"
        thought_B = batch.think_length + batch.redundant.diff(dim=1).flatten()
        stated_B = batch.necessary > 0
        return think_end_bonus(batch.earned == 1, batch.think_length, thought_B, stated_B, self.think_end_coef)

    def advantages(self, batch: RolloutBatch) -> Tensor:
        """(B, T) group-centred rewards, and the bonus where thinking closes; T the longest rollout."""
        advantage_B = group_advantages(batch.grouped(self.rewards(batch)), "none").flatten()
        return with_bonus(advantage_B, self.bonus(batch), batch.think_length, int(batch.length.max()))

    def metrics(self, batch: RolloutBatch) -> dict[str, float]:
        """Share of the thinking of right rollouts that is taken out. Nothing where they do not think."""
        assert batch.redundant is not None, "rollouts are labelled for a method that asks for it"
        right_B = batch.earned == 1
        taken, kept = batch.redundant.diff(dim=1).flatten()[right_B].sum(), batch.think_length[right_B].sum()
        return {"cropped_thinking": (taken / (taken + kept)).item()} if taken + kept > 0 else {}
