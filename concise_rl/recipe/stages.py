"""The stages of training that a recipe can name."""

from dataclasses import dataclass

from trl import DPOConfig, SFTConfig

from concise_rl.recipe.config import ConciseConfig
from concise_rl.recipe.settings import DPO, RL, SFT, Keys


@dataclass(frozen=True)
class Stage:
    """A kind of training.

    Attributes:
        config: the class whose fields are keys of its recipes.
        keys: what each of them means here.
        title: what it is, in words.
        base: TRL's class that `config` is or extends.
    """

    config: type
    keys: Keys
    title: str
    base: str


STAGES: dict[str, Stage] = {
    "rl": Stage(ConciseConfig, RL, "reinforcement learning", "GRPOConfig"),
    "sft": Stage(SFTConfig, SFT, "supervised fine-tuning", "SFTConfig"),
    "dpo": Stage(DPOConfig, DPO, "direct preference optimization", "DPOConfig"),
}
