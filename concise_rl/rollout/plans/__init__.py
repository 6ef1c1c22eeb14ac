"""How the rollouts of a group come about."""

from concise_rl.rollout.plans.budget import ThinkingBudget
from concise_rl.rollout.plans.plan import Parallel, Plan, Rollout, as_rollout
from concise_rl.rollout.plans.serial import AtFractions, Placement, SerialExits, Uniform

__all__ = [
    "AtFractions",
    "Parallel",
    "Placement",
    "Plan",
    "Rollout",
    "SerialExits",
    "ThinkingBudget",
    "Uniform",
    "as_rollout",
]
