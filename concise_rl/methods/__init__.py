"""What a method may read, and what it returns. A method imports from here, and from nowhere else in concise_rl."""

from concise_rl.methods.advantages import ScaleRewards, group_advantages, has_signal
from concise_rl.methods.batch import RolloutBatch
from concise_rl.methods.loss import Clipped, LossInputs, TokenLoss
from concise_rl.methods.objective import Objective, PlanContext, SequenceReward
from concise_rl.methods.selection import Selection, StoredSample, by_prompt, demonstration, is_right, preference
from concise_rl.named import find_class, with_options
from concise_rl.reading.trace import Delimiters, StopReason
from concise_rl.rollout.plans import (
    AtFractions,
    Parallel,
    Placement,
    Plan,
    Rollout,
    SerialExits,
    ThinkingBudget,
    Uniform,
)

__all__ = [
    "AtFractions",
    "Clipped",
    "Delimiters",
    "LossInputs",
    "Objective",
    "Parallel",
    "Placement",
    "Plan",
    "PlanContext",
    "Rollout",
    "RolloutBatch",
    "ScaleRewards",
    "Selection",
    "SequenceReward",
    "SerialExits",
    "StopReason",
    "StoredSample",
    "ThinkingBudget",
    "TokenLoss",
    "Uniform",
    "by_prompt",
    "demonstration",
    "find_class",
    "group_advantages",
    "has_signal",
    "is_right",
    "preference",
    "with_options",
]
