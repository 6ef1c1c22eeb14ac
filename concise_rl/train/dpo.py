"""Direct preference optimization by a recipe (`stage: dpo`)."""

from typing import Any

from datasets import Dataset
from trl import DPOTrainer

from concise_rl.recipe.compatibility import check_preferences
from concise_rl.recipe.parse import Recipe
from concise_rl.train.offline import Offline, train_offline


class PreferenceTrainer(Offline, DPOTrainer):
    """TRL's, which takes tokens as they are, with checkpoints that a cut run can go on from, and finite steps."""

    def _prepare_dataset(self, dataset: Any, *args: Any, **kwargs: Any) -> Any:
        is_tokens = isinstance(dataset, Dataset) and "prompt_ids" in dataset.column_names
        return dataset if is_tokens else super()._prepare_dataset(dataset, *args, **kwargs)


def train_dpo(recipe: Recipe) -> None:
    """Train on the recipe's preferences."""
    check_preferences(recipe.training)
    train_offline(recipe, PreferenceTrainer)
