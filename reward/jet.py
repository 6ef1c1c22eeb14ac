"""JET: paths cut at fixed fractions; of the correct rollouts the shortest earn most."""

from typing import ClassVar, Literal

import torch
from pydantic import Field, field_validator
from torch import Tensor

from concise_rl.methods import (
    AtFractions,
    Credit,
    Parts,
    RolloutBatch,
    RunContext,
    SequenceReward,
    SerialExits,
    StopReason,
)


def jet_rewards(
    correct_PG: Tensor,
    formatted_PG: Tensor,
    length_PG: Tensor,
    format_weight: float,
    alpha: float,
    delta: float,
    eps: float = 1e-8,
) -> Tensor:
    """(P, G) rewards by correctness, form, and length among the correct rollouts of each row.

    Args:
        correct_PG: (P, G) verdicts; NaN stays NaN and counts nowhere.
        formatted_PG: (P, G) 1 for an answer in due form, else 0.
        length_PG: (P, G) tokens.
        format_weight, alpha, delta: see `Jet`.
        eps: added to the range of lengths.
    """
    right_PG, length_PG = correct_PG == 1, length_PG.to(correct_PG.dtype)
    longest_P1 = length_PG.masked_fill(~right_PG, -torch.inf).amax(dim=1, keepdim=True)
    shortest_P1 = length_PG.masked_fill(~right_PG, torch.inf).amin(dim=1, keepdim=True)
    spared_PG = (longest_P1 - length_PG) / (longest_P1 - shortest_P1 + eps)
    bonus_PG = (delta + (1 - delta) * alpha * spared_PG).masked_fill(~right_PG, 0.0)
    return (1 - format_weight) * correct_PG + format_weight * formatted_PG + bonus_PG


class Jet(SequenceReward):
    """Just-Enough Thinking (Han et al.): paths and their exits at fixed fractions, and a reward by relative length.

    A group is made of paths and their exits, see `SerialExits`: the thinking of each path is cut at `fractions` of its
    tokens, closed by `exit_text` and answered within `answer_max_tokens`. Reward: `(1 - format_weight) * correct +
    format_weight * formatted`, and for a correct rollout also
    `delta + (1 - delta) * alpha * (L_max - L) / (L_max - L_min)` over the lengths of the correct ones. Advantages are
    GRPO's. All tokens are trained on, forced ones included. A group alike in verdicts and lengths gets 0.

    Published settings, which are the defaults: groups of 12, of which 2 are full paths; learning rate 1e-6, KL 0.01,
    64 to 128 prompts a step, 10000 tokens, temperature 0.6, 150 steps.

    Not as in the published code: it cuts the text of the whole response by characters, here the thinking is cut by
    tokens; it cuts an exit's answer behind the sentence of the first box and appends an EOS to whatever lacks one, here
    an answer has to end by itself within its cap; it calls formatted what shows a box, here what closed its thinking
    and ended by itself.
    """

    paper: ClassVar[str] = "https://hf.co/papers/2509.23392"
    needs: ClassVar[str] = "whole groups on each rank; num_generations a multiple of 1 + the number of fractions"

    fractions: tuple[float, ...] = Field((0.1, 0.3, 0.5, 0.7, 0.9), min_length=1)
    """Where the thinking of each path is cut, ascending."""
    exit_text: str = Field(
        "\n\nWait, I have enough information to get the final answer.</think>\n\n"
        "Therefore, the final answer is \\boxed{",
        min_length=1,
    )
    """What is forced behind each cut; holds think_end once."""
    answer_max_tokens: int = Field(50, ge=1)
    """Most tokens of an exit's answer, EOS included. They and exit_text count in max_completion_length."""
    format_weight: float = Field(0.1, ge=0, le=1)
    """What a rollout earns for having ended with an answer, right or wrong."""
    alpha: float = Field(1.2, ge=0)
    """Weight of the length of correct rollouts."""
    delta: float = Field(0.05, ge=0, le=1)
    """What the longest correct rollout earns beyond its correctness."""
    lengths_over: Literal["batch", "group"] = "batch"
    """Whose longest and shortest correct rollouts a length is measured by. The published code: all of the batch, hard
    problems' beside easy ones'."""
    train_exit_text: bool = True
    """Whether the forced exit text is trained on, as published."""

    @field_validator("fractions")
    @classmethod
    def _ascending(cls, fractions: tuple[float, ...]) -> tuple[float, ...]:
        if list(fractions) != sorted(fractions) or min(fractions, default=0) < 0 or max(fractions, default=1) > 1:
            raise ValueError("fractions lie between 0 and 1, in ascending order")
        return fractions

    @property
    def credit(self) -> Credit:
        """Form is paid; lengths are compared over what `lengths_over` says."""
        return Credit(scope=self.lengths_over, form=True)

    def parts(self, run: RunContext) -> Parts:
        """Paths and their exits.

        Raises:
            ValueError: when the group is not made of whole paths with their exits.
        """
        placement = AtFractions(self.fractions)
        plan = SerialExits(
            run.delimiters,
            run.encode(self.exit_text),
            self.answer_max_tokens,
            placement,
            train_exit_text=self.train_exit_text,
        )
        if run.num_generations % plan.num_members:
            raise ValueError(
                f"A path and its {placement.num_exits} exits are {plan.num_members} rollouts: num_generations must be "
                f"a multiple of that, not {run.num_generations}."
            )
        return Parts(plan=plan)

    def rewards(self, batch: RolloutBatch) -> Tensor:
        """(B,) correctness, form and length; NaN where the verifier could not judge."""
        formatted_B = batch.finished & batch.closed
        rows = (-1, batch.num_generations) if self.lengths_over == "group" else (1, -1)
        correct, formatted, length = (t.view(rows) for t in (batch.earned, formatted_B.to(batch.earned), batch.length))
        return jet_rewards(correct, formatted, length, self.format_weight, self.alpha, self.delta).flatten()

    def metrics(self, batch: RolloutBatch) -> dict[str, float]:
        """Share of the exits that is right among those judged. Nothing for rollouts that were sampled plainly."""
        exit_B = batch.stop_reason == StopReason.FORCED_EXIT
        return {"exits_right": batch.earned[exit_B].nanmean().item()} if exit_B.any() else {}
