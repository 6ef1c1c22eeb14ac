"""The stages of training that a recipe names."""

from collections.abc import Callable

from concise_rl.recipe.parse import Recipe
from concise_rl.train.dpo import train_dpo
from concise_rl.train.rl import train_rl
from concise_rl.train.sft import train_sft

STAGES: dict[str, Callable[[Recipe], None]] = {"rl": train_rl, "sft": train_sft, "dpo": train_dpo}
"""How each is trained, by the recipe's `stage`."""
