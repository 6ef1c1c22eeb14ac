"""What a method is: options as fields, advantages from a batch, and the parts that it brings along."""

from abc import ABC, abstractmethod
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict
from torch import Tensor

from concise_rl.methods.advantages import ScaleRewards, group_advantages
from concise_rl.methods.batch import RolloutBatch
from concise_rl.methods.parts import Credit, Memory, Parts, RunContext

MOVED = {
    **dict.fromkeys(("scope", "pays_wrong", "pays_unfinished", "pays_form", "token_level"), "the property `credit`"),
    **dict.fromkeys(("plan", "ordered"), "parts(): Parts(plan=...)"),
    **dict.fromkeys(("labels", "crops"), "parts(): Parts(stages=(Label(...), Crop()))"),
    "rejudges": "parts(): Parts(rejudge=True), whose verdicts are batch.kept_correct",
    "drops": "`kept_length` alone",
}
"""What a method of an older version declares on its class, and where that is said now."""


class Objective(BaseModel, ABC):
    """A method. Its options are its fields: typed, bounded, documented by the string under each.

    Class attributes:
        paper: where it is published.
        needs: what must be set up for it beyond plain sampling, in words.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)

    paper: ClassVar[str]
    needs: ClassVar[str] = "nothing"

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """
        Raises:
            ValueError: for a method written for an older version, which would train as another one.
        """
        # Here and not in pydantic's hook: pydantic would first complain of names without an annotation.
        super().__init_subclass__(**kwargs)
        for name in MOVED.keys() & vars(cls).keys():
            raise ValueError(f"{cls.__name__}.{name} is not read any more. Say it in {MOVED[name]}.")

    @property
    def credit(self) -> Credit:
        """What the credit of a rollout may depend on. It may follow the options."""
        return Credit()

    def parts(self, run: RunContext) -> Parts:
        """What it brings along to a run. Plain sampling and TRL's loss unless said otherwise."""
        return Parts()

    @abstractmethod
    def advantages(self, batch: RolloutBatch) -> Tensor:
        """(B,) or (B, T) advantages for the whole batch, finite everywhere, on padding too."""

    def metrics(self, batch: RolloutBatch) -> dict[str, float]:
        """What to log beside the usual, by names that need not be unique: `objective/` is put in front of each."""
        return {}

    def cap(self, step: int, max_length: int) -> int:
        """Cap on completion tokens after `step` optimizer steps, at most `max_length`, which the recipe gives."""
        return max_length

    def keep_shortest(self, num_generations: int) -> int | None:
        """How many members of a group can earn credit, where only the shortest can: the engine may give up the others.
        None: all of them."""
        return None

    def kept_length(self, batch: RolloutBatch) -> Tensor:
        """(B,) int; how many of a rollout's first tokens stay in the loss and its normaliser. 0 drops the rollout."""
        return batch.length

    def initial(self) -> Memory:
        """What it knows before the first step. Checkpoints hold it."""
        return {}

    def learn(self, batch: RolloutBatch) -> Memory:
        """What it knows after a step; `batch.memory` is what it knew. Called on every rank with the same batch."""
        return batch.memory


class SequenceReward(Objective):
    """A method that is a reward for each rollout, and TRL's normalisation of it within the group."""

    scale_rewards: ScaleRewards = "group"
    """What the group-centred rewards are divided by; the trainer's `scale_rewards` unless given here. With `group`, a
    length difference in a group without errors weighs as much as right against wrong, whatever its coefficient."""

    @abstractmethod
    def rewards(self, batch: RolloutBatch) -> Tensor:
        """(B,) rewards; NaN where the verifier could not judge."""

    def advantages(self, batch: RolloutBatch) -> Tensor:
        """(B,) group-relative advantages of `rewards`.

        Raises:
            ValueError: for rewards of another shape, and where one is infinite, or NaN although there is a verdict.
        """
        rewards_B, name = self.rewards(batch), type(self).__name__
        if rewards_B.shape != batch.correct.shape:
            shapes = f"{tuple(rewards_B.shape)}, not {tuple(batch.correct.shape)}"
            raise ValueError(f"{name}.rewards returns the shape {shapes}: one for each rollout of the batch.")
        unknown_B = rewards_B.isnan() & (batch.kept_correct.isnan() | (self.kept_length(batch) == 0))
        if not (rewards_B.isfinite() | unknown_B).all():
            raise ValueError(
                f"{name}.rewards is infinite, or NaN for a rollout that has a verdict: look for a division."
            )
        return group_advantages(batch.grouped(rewards_B), self.scale_rewards).flatten()
