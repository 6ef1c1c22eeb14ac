"""What a method may read, and what it returns. A method imports from here, and from nowhere else in concise_rl."""

from concise_rl.methods.advantages import ScaleRewards, group_advantages, has_signal
from concise_rl.methods.batch import RolloutBatch
from concise_rl.methods.loss import Clipped, LossInputs, TokenLoss
from concise_rl.methods.objective import Objective, SequenceReward
from concise_rl.methods.parts import Credit, Memory, Parts, PromptWriter, RunContext, add_to_prompt
from concise_rl.methods.selection import Selection, StoredSample, by_prompt, demonstration, is_right, preference
from concise_rl.methods.stages import UNWRITTEN, Column, Crop, Label, ProblemKey, Stage, Tools, problem_key
from concise_rl.named import find_class, with_options
from concise_rl.reading.trace import Delimiters, StopReason
from concise_rl.rollout.collect import Judged
from concise_rl.rollout.engine import Asked, Engine
from concise_rl.rollout.facts import Fact
from concise_rl.rollout.plans import (
    AtFractions,
    BeforeWords,
    ForcedFirst,
    Parallel,
    Placement,
    Plan,
    Probe,
    Probed,
    Rollout,
    SerialExits,
    ThinkingBudget,
    Uniform,
)

__all__ = [
    "UNWRITTEN",
    "Asked",
    "AtFractions",
    "BeforeWords",
    "Clipped",
    "Column",
    "Credit",
    "Crop",
    "Delimiters",
    "Engine",
    "Fact",
    "ForcedFirst",
    "Judged",
    "Label",
    "LossInputs",
    "Memory",
    "Objective",
    "Parallel",
    "Parts",
    "Placement",
    "Plan",
    "Probe",
    "Probed",
    "ProblemKey",
    "PromptWriter",
    "Rollout",
    "RolloutBatch",
    "RunContext",
    "ScaleRewards",
    "Selection",
    "SequenceReward",
    "SerialExits",
    "Stage",
    "StopReason",
    "StoredSample",
    "ThinkingBudget",
    "TokenLoss",
    "Tools",
    "Uniform",
    "add_to_prompt",
    "by_prompt",
    "demonstration",
    "find_class",
    "group_advantages",
    "has_signal",
    "is_right",
    "preference",
    "problem_key",
    "with_options",
]
