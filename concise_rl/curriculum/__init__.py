"""Which groups a step trains on."""

from concise_rl.curriculum.curricula import CURRICULA, Curriculum, DynamicSampling, Kappa, TwoStage, build_curriculum
from concise_rl.curriculum.kinds import GroupKind, group_kinds
from concise_rl.curriculum.memory import CurriculumMemory, OversampleFactor

__all__ = [
    "CURRICULA",
    "Curriculum",
    "CurriculumMemory",
    "DynamicSampling",
    "GroupKind",
    "Kappa",
    "OversampleFactor",
    "TwoStage",
    "build_curriculum",
    "group_kinds",
]
