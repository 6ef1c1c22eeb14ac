"""A batch of judged rollouts, as methods read it."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class RolloutBatch:
    """Judged rollouts of one generation batch, gathered over all ranks. The members of a group stand together.

    Attributes:
        correct: (B,) float; the verifier's verdict 1 or 0 on the whole rollout, NaN where it could not judge or the
            rollout was given up. Never shaped.
        length: (B,) int; tokens of the completion, EOS included.
        think_length: (B,) int; tokens before the closing think delimiter.
        closed: (B,) bool; the closing think delimiter came exactly once, so that an answer follows it.
        finished: (B,) bool; ended by an EOS, not by a cap.
        stop_reason: (B,) int; `StopReason`.
        num_generations: G.
        max_length: cap on completion tokens at this step.
        step: optimizer steps done so far.
        facts: (B,) or (B, width) by name: what stages, plans and prompt writers know of each rollout.
        memory: what the method knew of the run before this step.
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
    facts: Mapping[str, Tensor] = field(default_factory=dict)
    memory: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        columns = (self.correct, self.length, self.think_length, self.closed, self.finished, self.stop_reason)
        shapes = {column.shape for column in columns}
        assert len(shapes) == 1, f"the columns of a batch are aligned, got {shapes}"
        assert all(len(fact) == len(self.correct) for fact in self.facts.values()), "facts are aligned with rollouts"
        assert len(self.correct) % self.num_generations == 0, "a batch is made of whole groups"

    @property
    def earned(self) -> Tensor:
        """(B,) `correct`, but 0 for unfinished rollouts: what a method pays for unless it says otherwise."""
        return torch.where(self.finished, self.correct, torch.zeros_like(self.correct))

    @property
    def kept_correct(self) -> Tensor:
        """(B,) the verdict on the tokens that the method keeps: `correct`, unless it judges again."""
        return self.facts.get("kept_correct", self.correct)

    @property
    def redundant(self) -> Tensor | None:
        """(B, 2) int; see `Label`. None where rollouts are not labelled."""
        return self.facts.get("redundant")

    @property
    def necessary(self) -> Tensor | None:
        """(B,) float; see `Label`. None where rollouts are not labelled."""
        return self.facts.get("necessary")

    def fact(self, name: str) -> Tensor:
        """Return (B,) or (B, width) of a fact that one of the method's parts declares.

        Raises:
            ValueError: when none does.
        """
        if name not in self.facts:
            there = ", ".join(sorted(self.facts)) or "none"
            raise ValueError(
                f"No part of the method adds the fact {name!r} (facts of this batch: {there}). Name in parts() the "
                "stage, plan or prompt writer that adds it, Label for redundant and necessary."
            )
        return self.facts[name]

    def grouped(self, values_B: Tensor) -> Tensor:
        """(B,) as (P, G)."""
        return values_B.view(-1, self.num_generations)

    def rows(self, chosen_B: Tensor) -> "RolloutBatch":
        """Some of the groups, from (B,) bool."""
        columns = {name: value[chosen_B] for name, value in vars(self).items() if isinstance(value, Tensor)}
        return replace(self, **columns, facts={name: fact[chosen_B] for name, fact in self.facts.items()})
