"""What a method is: an `Objective` turns a batch of judged rollouts into advantages.

Axis letters in tensor names: P prompts, G members of a group, B = P * G completions, T completion tokens.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict
from torch import Tensor

from concise_rl.methods.advantages import ScaleRewards, group_advantages
from concise_rl.methods.batch import RolloutBatch
from concise_rl.reading.trace import Delimiters
from concise_rl.rollout.plans.plan import Parallel, Plan


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
