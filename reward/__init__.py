"""The methods, one file each. A recipe names one by its key here, or any class of its own by a dotted path."""

from concise_rl.objective import Objective
from reward.grpo import Grpo
from reward.grpo_lambda import GrpoLambda
from reward.length_penalty import LengthPenalty

OBJECTIVES: dict[str, type[Objective]] = {
    "grpo": Grpo,
    "grpo_lambda": GrpoLambda,
    "length_penalty": LengthPenalty,
}

__all__ = ["OBJECTIVES", "Grpo", "GrpoLambda", "LengthPenalty"]
