"""How the rollouts of a group come about."""

from concise_rl.rollout.plans.budget import ThinkingBudget
from concise_rl.rollout.plans.forced import ForcedFirst
from concise_rl.rollout.plans.plan import Parallel, Plan, Probe, Rollout, as_rollout
from concise_rl.rollout.plans.probed import BeforeWords, Probed
from concise_rl.rollout.plans.serial import AtFractions, Placement, SerialExits, Uniform

__all__ = [
    "AtFractions",
    "BeforeWords",
    "ForcedFirst",
    "Parallel",
    "Placement",
    "Plan",
    "Probe",
    "Probed",
    "Rollout",
    "SerialExits",
    "ThinkingBudget",
    "Uniform",
    "as_rollout",
]
