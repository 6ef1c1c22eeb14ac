"""The methods, one file each. A recipe names one by its key here, or any class of its own by a dotted path."""

from concise_rl.objective import Objective
from reward.dot import Dot
from reward.elastic import Elastic
from reward.gfpo import Gfpo
from reward.grpo import Grpo
from reward.grpo_lambda import GrpoLambda
from reward.jet import Jet
from reward.length_penalty import LengthPenalty
from reward.s_grpo import SGrpo
from reward.thinkprune import ThinkPrune

OBJECTIVES: dict[str, type[Objective]] = {
    "dot": Dot,
    "elastic": Elastic,
    "gfpo": Gfpo,
    "grpo": Grpo,
    "grpo_lambda": GrpoLambda,
    "jet": Jet,
    "length_penalty": LengthPenalty,
    "s_grpo": SGrpo,
    "thinkprune": ThinkPrune,
}

__all__ = [
    "OBJECTIVES",
    "Dot",
    "Elastic",
    "Gfpo",
    "Grpo",
    "GrpoLambda",
    "Jet",
    "LengthPenalty",
    "SGrpo",
    "ThinkPrune",
]
