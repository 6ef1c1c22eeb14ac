"""The methods, one file each. A recipe names one by its key here, or any class of its own by a dotted path."""

from concise_rl.objective import Objective
from reward.conciser import Conciser
from reward.ddca import Ddca
from reward.decs import Decs
from reward.dot import Dot
from reward.elastic import Elastic
from reward.gfpo import Gfpo
from reward.grpo import Grpo
from reward.grpo_lambda import GrpoLambda
from reward.jet import Jet
from reward.lc_r1 import LcR1
from reward.length_penalty import LengthPenalty
from reward.s_grpo import SGrpo
from reward.thinkprune import ThinkPrune

OBJECTIVES: dict[str, type[Objective]] = {
    "conciser": Conciser,
    "ddca": Ddca,
    "decs": Decs,
    "dot": Dot,
    "elastic": Elastic,
    "gfpo": Gfpo,
    "grpo": Grpo,
    "grpo_lambda": GrpoLambda,
    "jet": Jet,
    "lc_r1": LcR1,
    "length_penalty": LengthPenalty,
    "s_grpo": SGrpo,
    "thinkprune": ThinkPrune,
}

__all__ = [
    "OBJECTIVES",
    "Conciser",
    "Ddca",
    "Decs",
    "Dot",
    "Elastic",
    "Gfpo",
    "Grpo",
    "GrpoLambda",
    "Jet",
    "LcR1",
    "LengthPenalty",
    "SGrpo",
    "ThinkPrune",
]
