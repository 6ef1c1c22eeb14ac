"""Direct preference optimization by a recipe (`stage: dpo`)."""

from typing import Any

from datasets import Dataset
from transformers import set_seed
from trl import DPOTrainer, get_peft_config

from concise_rl.models.resolve import resolve_model
from concise_rl.recipe.compatibility import check_preferences
from concise_rl.recipe.demonstrations import load_preferences
from concise_rl.recipe.parse import Recipe
from concise_rl.recipe.precision import check_dtype, check_weights
from concise_rl.recipe.preflight import check_rows
from concise_rl.train.callbacks import MetricsFile, use_progress_bar
from concise_rl.train.checkpoint import WholeCheckpoints, demand_trainable
from concise_rl.train.finish import finish_training
from concise_rl.train.finite import FiniteSteps
from concise_rl.train.folder import claim_folder
from concise_rl.train.watch.events import Told


class PreferenceTrainer(Told, FiniteSteps, WholeCheckpoints, DPOTrainer):
    """TRL's, which takes tokens as they are, with checkpoints that a cut run can go on from, and finite steps."""

    def _prepare_dataset(self, dataset: Any, *args: Any, **kwargs: Any) -> Any:
        is_tokens = isinstance(dataset, Dataset) and "prompt_ids" in dataset.column_names
        return dataset if is_tokens else super()._prepare_dataset(dataset, *args, **kwargs)


def train_dpo(recipe: Recipe) -> None:
    """Train on the recipe's preferences."""
    set_seed(recipe.training.seed)
    check_preferences(recipe.training)
    check_dtype(recipe.training, adapters=recipe.model.use_peft)
    model, preferences = resolve_model(recipe.model_name), load_preferences(recipe)
    check_rows(len(preferences), recipe)
    claim_folder(recipe)
    trainer = PreferenceTrainer(
        model=model,
        args=recipe.training,
        train_dataset=preferences,
        peft_config=get_peft_config(recipe.model),
        callbacks=[MetricsFile()],
    )
    check_weights(trainer)
    demand_trainable(trainer.model)
    use_progress_bar(trainer)
    finish_training(trainer, recipe.folder)
