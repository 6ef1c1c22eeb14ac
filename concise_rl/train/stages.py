"""What trains a recipe, by its `stage`. Its configuration and its keys stand in `concise_rl.recipe.stages`."""

from collections.abc import Callable

from concise_rl.recipe.parse import Recipe
from concise_rl.train.dpo import train_dpo
from concise_rl.train.rl import train_rl
from concise_rl.train.sft import train_sft

TRAIN: dict[str, Callable[[Recipe], None]] = {"rl": train_rl, "sft": train_sft, "dpo": train_dpo}
