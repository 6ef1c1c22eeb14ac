"""Train on rows that are there before the training begins."""

from typing import Any

from transformers import set_seed
from trl import get_peft_config

from concise_rl.models.resolve import resolve_model
from concise_rl.recipe.demonstrations import LOADERS
from concise_rl.recipe.parse import Recipe
from concise_rl.recipe.precision import check_dtype, check_weights
from concise_rl.recipe.preflight import check_rows
from concise_rl.train.callbacks import MetricsFile, use_progress_bar
from concise_rl.train.checkpoint import demand_trainable
from concise_rl.train.finish import finish_training
from concise_rl.train.folder import claim_folder


def train_offline(recipe: Recipe, trainer_class: Any) -> None:
    """Train a recipe's model on its rows, with one of TRL's trainers.

    Raises:
        ValueError: for rows that cannot be used, and a folder that is taken.
    """
    set_seed(recipe.training.seed)
    check_dtype(recipe.training, adapters=recipe.model.use_peft)
    model, rows = resolve_model(recipe.model_name), LOADERS[recipe.stage](recipe)
    check_rows(len(rows), recipe)
    claim_folder(recipe)
    trainer = trainer_class(
        model=model,
        args=recipe.training,
        train_dataset=rows,
        peft_config=get_peft_config(recipe.model),
        callbacks=[MetricsFile()],
    )
    check_weights(trainer)
    demand_trainable(trainer.model)
    use_progress_bar(trainer)
    finish_training(trainer, recipe.folder)
