"""VSRM: a step of thinking earns what it changes in the share of right answers."""

from collections.abc import Sequence
from itertools import pairwise
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from concise_rl.methods import BeforeWords, Credit, Objective, Parts, Probed, RolloutBatch, RunContext, group_advantages

FLAT = 1e-5
"""A smaller change of the share of right answers is none."""


def step_rewards(shares: Sequence[float], gamma: float, look_ahead: int) -> list[float]:
    """Say what each step is worth: the change that it makes, or a later one, discounted.

    Args:
        shares: of right answers, before the first step and behind each; NaN where unknown.
        gamma: what a change is discounted by for every step without one that comes before it.
        look_ahead: so many steps behind one without a change may still pay for it.
    """
    changes = [later - earlier for earlier, later in pairwise(shares)]
    return [_first_change(changes[i : i + look_ahead + 1], gamma) for i in range(len(changes))]


def _first_change(changes: Sequence[float], gamma: float) -> float:
    return next((change * gamma**i for i, change in enumerate(changes) if abs(change) >= FLAT), 0.0)


def returns(outcome_B: Tensor, at_BW: Tensor, rewards_BW: Tensor, width: int) -> Tensor:
    """(B, width) what is still to be earned from each token on: the outcome, and the steps that begin there or later.

    Args:
        outcome_B: (B,) earned at the last token.
        at_BW: (B, W) the token that each step begins with, ascending; -1 where there is no step.
        rewards_BW: (B, W) of the steps, at their first token; 0 where there is none.
        width: T.
    """
    place_BW = at_BW.masked_fill(at_BW < 0, width)
    token_BT = torch.arange(width).expand(len(at_BW), -1).contiguous()
    steps_before_BT = torch.searchsorted(place_BW, token_BT)
    to_come_BW = rewards_BW.flip(1).cumsum(dim=1).flip(1)
    return outcome_B[:, None] + nn.functional.pad(to_come_BW, (0, 1)).gather(1, steps_before_BT)


class Vsrm(Objective):
    """Verifiable stepwise rewards (VSRM, Yue et al.): steps of thinking are paid for the accuracy that they add.

    Thinking is cut into steps before sentences with words of reflection, not in its first `skip_chars` characters, and
    at least `apart_chars` apart. At each cut, and at the end, thinking is closed by `exit_text` and answered `answers`
    times. A step earns the change in the share of right answers from its beginning to its end. Where there is none, it
    earns the next change within `look_ahead` steps, times `gamma` for each step until then, or 0. The last token earns
    correctness. So steps that only repeat earn nothing, and harmful ones pay; length itself has no price.

    The reward of a step lies at its first token, as in the published code. A token returns what the rollout earns from
    it on. Its advantage is that, standardised over the tokens of the batch (REINFORCE++,
    https://hf.co/papers/2501.03262). The paper has this, and PPO with a critic, which is what its script runs, with one
    rollout a prompt. A rollout without a verdict gets 0 and counts nowhere. Evaluation during training samples plainly,
    without answers on the way.

    Not as in the published code: words count only as whole words, "So" is none in "Sofa". More than `max_cuts` cuts
    are thinned out evenly. An answer that does not end within its cap is wrong.

    Published settings, which are the defaults: 5 answers of at most 768 tokens, gamma 0.7, look-ahead 4. 256 prompts a
    step in minibatches of 128, learning rate 1e-6, KL 0.001, temperature 0.6, top-p 0.95, cap 7424. 3 epochs of
    DeepScaleR from DeepScaleR-1.5B-Preview.
    """

    paper: ClassVar[str] = "https://hf.co/papers/2508.10293"
    needs: ClassVar[str] = "an exit_text that the model can go on from, and time: every cut is answered"

    gamma: float = Field(0.7, ge=0, le=1)
    """What a later change is discounted by, for each step until it."""
    look_ahead: int = Field(4, ge=0)
    """Within how many further steps a change still pays a step without one."""
    answers: int = Field(5, ge=1)
    """Answers at each cut."""
    max_cuts: int = Field(32, ge=1)
    """Most cuts of a rollout."""
    skip_chars: int = Field(1000, ge=0)
    """Characters of thinking in which nothing is cut."""
    apart_chars: int = Field(400, ge=0)
    """Least characters from a cut to the word that makes the next."""
    exit_text: str = Field("</think>", min_length=1)
    """What is forced at each cut; holds think_end once."""
    answer_max_tokens: int = Field(768, ge=1)
    """Most tokens of such an answer, EOS included. They and exit_text count in max_completion_length."""
    eps: float = Field(1e-8, gt=0)
    """Added to the standard deviation."""

    @property
    def credit(self) -> Credit:
        """By token, against the batch."""
        return Credit(scope="batch", by_token=True)

    def parts(self, run: RunContext) -> Parts:
        """Answer at the cuts of each rollout."""
        cut = BeforeWords(run.text_of, skip=self.skip_chars, apart=self.apart_chars)
        exit_ids = run.encode(self.exit_text)
        return Parts(
            plan=Probed(run.delimiters, exit_ids, self.answer_max_tokens, cut, self.answers, most=self.max_cuts)
        )

    def step_rewards(self, batch: RolloutBatch) -> Tensor:
        """(B, W) float64; what each step is worth, 0 where there is none."""
        worth = [step_rewards(shares, self.gamma, self.look_ahead) for shares in batch.fact("probe_correct").tolist()]
        return torch.tensor(worth, dtype=torch.float64)

    def returns(self, batch: RolloutBatch, width: int) -> Tensor:
        """(B, width) float64; what is still to be earned from each token on."""
        outcome_B = batch.earned.double()
        if "probe_at" not in batch.facts:
            return outcome_B[:, None].expand(-1, width)
        return returns(outcome_B, batch.fact("probe_at")[:, :-1], self.step_rewards(batch), width)

    def advantages(self, batch: RolloutBatch) -> Tensor:
        """(B, T) returns, standardised over the tokens of the batch; T the longest rollout. 0 on padding."""
        width = int(batch.length.max())
        is_padding_BT = torch.arange(width) >= batch.length[:, None]
        returns_BT = self.returns(batch, width).masked_fill(is_padding_BT, torch.nan)
        return group_advantages(returns_BT.reshape(1, -1), eps=self.eps).view_as(returns_BT).to(batch.correct.dtype)

    def metrics(self, batch: RolloutBatch) -> dict[str, float]:
        """Cuts of a rollout, and the share of the steps behind them that earn and that pay. Nothing for rollouts that
        were sampled plainly, nor of steps where there are none."""
        if "probe_at" not in batch.facts:
            return {}
        is_step_BW = batch.fact("probe_at")[:, 1:] >= 0
        found = {"cuts": is_step_BW.sum(dim=1).double().mean().item()}
        if not is_step_BW.any():
            return found
        rewards = self.step_rewards(batch)[is_step_BW]
        shares = {"earning": rewards > 0, "paying": rewards < 0}
        return found | {f"steps_{name}": which.double().mean().item() for name, which in shares.items()}
