"""The methods, one file each. A recipe names one by its key here, or any class of its own by a dotted path."""

from typing import Any

from pydantic import BaseModel

from concise_rl.methods import Objective, SequenceReward, find_class, with_options
from reward.acoer import Acoer
from reward.adaptthink import AdaptThink
from reward.conciser import Conciser
from reward.ddca import Ddca
from reward.decs import Decs
from reward.dot import Dot
from reward.elastic import Elastic
from reward.gfpo import Gfpo
from reward.gppo import Gppo
from reward.grpo import Grpo
from reward.grpo_lambda import GrpoLambda
from reward.hapo import Hapo
from reward.jet import Jet
from reward.l1 import ExactTarget, L1Exact, L1Max, MaxTarget
from reward.lc_r1 import LcR1
from reward.length_penalty import LengthPenalty
from reward.mrt import Mrt
from reward.on_policy_sft import OnPolicySft
from reward.s_grpo import SGrpo
from reward.selections import SELECTIONS, AdaR1, ShortestRight, SolveRate
from reward.thinkprune import ThinkPrune
from reward.vsrm import Vsrm

OBJECTIVES: dict[str, type[Objective]] = {
    "adaptthink": AdaptThink,
    "acoer": Acoer,
    "conciser": Conciser,
    "ddca": Ddca,
    "decs": Decs,
    "dot": Dot,
    "elastic": Elastic,
    "gfpo": Gfpo,
    "gppo": Gppo,
    "grpo": Grpo,
    "grpo_lambda": GrpoLambda,
    "hapo": Hapo,
    "jet": Jet,
    "l1_exact": L1Exact,
    "l1_max": L1Max,
    "lc_r1": LcR1,
    "length_penalty": LengthPenalty,
    "mrt": Mrt,
    "on_policy_sft": OnPolicySft,
    "s_grpo": SGrpo,
    "thinkprune": ThinkPrune,
    "vsrm": Vsrm,
}

PROMPTS: dict[str, type[BaseModel]] = {"l1_exact": ExactTarget, "l1_max": MaxTarget}
"""What writes into prompts, by the names that an evaluation takes."""

__all__ = [
    "OBJECTIVES",
    "PROMPTS",
    "SELECTIONS",
    "Acoer",
    "AdaR1",
    "AdaptThink",
    "Conciser",
    "Ddca",
    "Decs",
    "Dot",
    "Elastic",
    "Gfpo",
    "Gppo",
    "Grpo",
    "GrpoLambda",
    "Hapo",
    "Jet",
    "L1Exact",
    "L1Max",
    "LcR1",
    "LengthPenalty",
    "Mrt",
    "OnPolicySft",
    "SGrpo",
    "ShortestRight",
    "SolveRate",
    "ThinkPrune",
    "Vsrm",
]


def objective_class(name: str) -> type[Objective]:
    """The class called `name`: a key of `reward.OBJECTIVES`, or the dotted path of a class of the user's own.

    Raises:
        ValueError: see `find_class`.
    """
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
