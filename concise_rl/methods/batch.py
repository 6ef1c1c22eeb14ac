"""Hold judged rollouts as the tensors that a method reads.

Axis letters in tensor names: P prompts, G members of a group, B = P * G completions, T completion tokens."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True)
class RolloutBatch:
    """Judged rollouts of one generation batch, gathered over all ranks. The members of a group stand together.

    Attributes:
        correct: (B,) float; the verifier's verdict 1 or 0, NaN where it could not judge or the rollout was given up.
            Never shaped. For a method that `rejudges`, the verdict on the tokens that it kept.
        length: (B,) int; tokens of the completion, EOS included.
        think_length: (B,) int; tokens before the closing think delimiter.
        closed: (B,) bool; has an answer part: its thinking was closed, and once.
        finished: (B,) bool; ended by an EOS, not by a cap.
        stop_reason: (B,) int; `StopReason`.
        num_generations: G.
        max_length: cap on completion tokens at this step.
        step: optimizer steps done so far.
        redundant: (B, 2) int; start and end of the thinking tokens behind the first passage that states the gold
            answer, as indices of the completion as it was sampled; equal where there are none, and in wrong rollouts.
            None unless rollouts are labelled.
        necessary: (B,) float; share of the passages up to and with that one, 0 where none states it or the rollout is
            wrong. None unless rollouts are labelled.
    """

    correct: Tensor
    length: Tensor
    think_length: Tensor
    closed: Tensor
    finished: Tensor
    stop_reason: Tensor
    num_generations: int
    max_length: int
    step: int
    redundant: Tensor | None = None
    necessary: Tensor | None = None

    def __post_init__(self) -> None:
        columns = (self.correct, self.length, self.think_length, self.closed, self.finished, self.stop_reason)
        shapes = {column.shape for column in columns}
        assert len(shapes) == 1, f"the columns of a batch are aligned, got {shapes}"
        assert len(self.correct) % self.num_generations == 0, "a batch is made of whole groups"

    @property
    def earned(self) -> Tensor:
        """(B,) `correct`, but 0 for unfinished rollouts: what a method pays for unless it says otherwise."""
        return torch.where(self.finished, self.correct, torch.zeros_like(self.correct))

    def grouped(self, values_B: Tensor) -> Tensor:
        """(B,) as (P, G)."""
        return values_B.view(-1, self.num_generations)

    def rows(self, chosen_B: Tensor) -> "RolloutBatch":
        """Some of the groups, from (B,) bool."""
        columns = {name: value for name, value in vars(self).items() if isinstance(value, Tensor)}
        return replace(self, **{name: column[chosen_B] for name, column in columns.items()})
