"""What a method is: an `Objective` turns a batch of judged rollouts into advantages.

Axis letters in tensor names: P prompts, G members of a group, B = P * G completions, T completion tokens.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor

from concise_rl.named import find_class, with_options
from concise_rl.rollout.plans import Parallel, Plan
from concise_rl.trace import Delimiters

ScaleRewards = Literal["group", "batch", "none"]


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


@dataclass(frozen=True)
class PlanContext:
    """What a rollout plan may need to know of the run.

    Attributes:
        delimiters: of the model.
        num_generations: G.
        encode: text to token ids. Raises ValueError where the tokenizer cannot write it.
    """

    delimiters: Delimiters
    num_generations: int
    encode: Callable[[str], tuple[int, ...]]


def group_advantages(rewards_PG: Tensor, scale: ScaleRewards = "group", eps: float = 1e-4) -> Tensor:
    """Rewards minus their group's mean, over a standard deviation (unbiased): TRL's operations in TRL's order.

    A group whose rewards are all equal gets exactly 0, where rounding would leave noise that `eps` does not tame.
    Rewards that are NaN (could not be judged) stay out of the statistics and get 0.

    Args:
        rewards_PG: (P, G).
        scale: whose standard deviation divides: the group's, the batch's, or none.
        eps: added to it. TRL has 1e-4; published codes mostly 1e-6.

    Returns:
        (P, G) advantages, finite.
    """
    centred_PG = rewards_PG - torch.nanmean(rewards_PG, dim=1, keepdim=True)
    if scale == "group":
        centred_PG = centred_PG / (_std(rewards_PG, dim=1) + eps)
    elif scale == "batch":
        centred_PG = centred_PG / (_std(rewards_PG.flatten(), dim=0) + eps)
    flat_P = ~has_signal(rewards_PG)
    return torch.nan_to_num(centred_PG, nan=0.0).masked_fill(flat_P[:, None], 0.0)


def _std(rewards: Tensor, dim: int) -> Tensor:
    """Unbiased, over what is not NaN, dimension kept; 0 where there is only one value at all.

    TRL's `nanstd`, except that its count is in torch's default dtype, which costs float64 rewards their precision.
    """
    if rewards.size(dim) == 1:
        return torch.zeros_like(rewards)
    deviation = rewards - rewards.nanmean(dim=dim, keepdim=True)
    variance = torch.nanmean(deviation**2, dim=dim, keepdim=True)
    count = (~rewards.isnan()).sum(dim=dim, keepdim=True).to(rewards.dtype)
    return torch.sqrt(variance * (count / (count - 1)))


def has_signal(rewards_PG: Tensor) -> Tensor:
    """(P,) whether a group's rewards differ at all. Exact: a standard deviation near 0 would need a threshold."""
    high_P = rewards_PG.nan_to_num(nan=-torch.inf).amax(dim=1)
    low_P = rewards_PG.nan_to_num(nan=torch.inf).amin(dim=1)
    return high_P > low_P


class Objective(BaseModel, ABC):
    """A method. Its options are its fields: typed, bounded, documented by the string under each.

    Class attributes say what it is:
        paper: where it is published.
        scope: what the credit of one rollout may depend on: itself, its group, the batch, or the run so far.
        pays_wrong: whether its published form gives wrong rollouts credit by their length.
        pays_unfinished: whether a rollout that is right earns something although it did not end by itself.
        pays_form: whether a wrong rollout earns something for having ended with an answer.
        ordered: whether the place of a rollout in its group means something, as in a serial group. Then whole groups
            lie on a rank, and evaluation during training samples plainly.
        token_level: whether advantages are (B, T).
        drops: whether `kept_length` ever takes tokens out of the loss.
        rejudges: whether the verdict is taken again on what `kept_length` leaves.
        labels: into what kind of passage the thinking of correct rollouts is divided and judged, so that the batch has
            `redundant` and `necessary`; None where the method does not ask for them.
        crops: whether correct rollouts are trained on without their redundant tokens.
        needs: what must be set up for it beyond plain sampling, in words.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)

    paper: ClassVar[str]
    scope: ClassVar[Literal["rollout", "group", "batch", "run"]]
    pays_wrong: ClassVar[bool] = False
    pays_unfinished: ClassVar[bool] = False
    pays_form: ClassVar[bool] = False
    ordered: ClassVar[bool] = False
    token_level: ClassVar[bool] = False
    drops: ClassVar[bool] = False
    rejudges: ClassVar[bool] = False
    labels: ClassVar[Literal["chunk", "sentence"] | None] = None
    crops: ClassVar[bool] = False
    needs: ClassVar[str] = "nothing"

    @abstractmethod
    def advantages(self, batch: RolloutBatch) -> Tensor:
        """(B,) or (B, T) advantages for the whole batch, finite everywhere, on padding too."""

    def metrics(self, batch: RolloutBatch) -> dict[str, float]:
        """What to log beside the usual, by names that need not be unique: `objective/` is put in front of each."""
        return {}

    def plan(self, context: PlanContext) -> Plan:
        """How its rollouts come about. Plain sampling unless said otherwise."""
        return Parallel()

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


class SequenceReward(Objective):
    """A method that is a reward for each rollout, and TRL's normalisation of it within the group."""

    scale_rewards: ScaleRewards = "group"
    """What the group-centred rewards are divided by; the trainer's `scale_rewards` unless given here. With `group`, a
    length difference in a group without errors weighs as much as right against wrong, whatever its coefficient."""

    @abstractmethod
    def rewards(self, batch: RolloutBatch) -> Tensor:
        """(B,) rewards; NaN where the verifier could not judge."""

    def advantages(self, batch: RolloutBatch) -> Tensor:
        """(B,) group-relative advantages of `rewards`."""
        return group_advantages(batch.grouped(self.rewards(batch)), self.scale_rewards).flatten()


def objective_class(name: str) -> type[Objective]:
    """The class called `name`: a key of `reward.OBJECTIVES`, or the dotted path of a class of the user's own.

    Raises:
        ValueError: see `find_class`.
    """
    from reward import OBJECTIVES

    return find_class("objective", name, OBJECTIVES, Objective)


def build_objective(name: str, options: dict[str, Any] | None = None, scale_rewards: str = "group") -> Objective:
    """Build the objective a recipe names.

    Args:
        name: see `objective_class`.
        options: its options, as the recipe's `objective_options` gives them.
        scale_rewards: for a method that leaves the normalisation open and whose options do not state it.

    Raises:
        ValueError: for an unknown name or option (naming the nearest), or a value out of bounds.
    """
    cls = objective_class(name)
    default = {"scale_rewards": scale_rewards} if issubclass(cls, SequenceReward) else {}
    return with_options("objective", name, cls, default | (options or {}))
