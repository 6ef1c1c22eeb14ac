"""Train by reinforcement learning with a recipe's objective."""

from transformers import set_seed
from trl import get_peft_config

from concise_rl.models.resolve import resolve_model
from concise_rl.recipe.config import ConciseConfig
from concise_rl.recipe.parse import Recipe
from concise_rl.recipe.precision import check_dtype
from concise_rl.recipe.preflight import check_rows
from concise_rl.recipe.problems import load_problems
from concise_rl.train.finish import finish_training
from concise_rl.train.folder import claim_folder
from concise_rl.train.parts import start_verifier


def train_rl(recipe: Recipe) -> None:
    """Reinforcement learning with the recipe's objective."""
    from concise_rl.recipe.check import check_objective
    from concise_rl.train.trainer import ConciseTrainer

    config: ConciseConfig = recipe.training
    set_seed(config.seed)
    check_objective(config)
    check_dtype(config, adapters=recipe.model.use_peft)
    model = resolve_model(recipe.model_name)
    with start_verifier(config) as pool:
        problems = load_problems(recipe, pool)
        check_rows(len(problems), recipe)
        claim_folder(recipe)
        trainer = ConciseTrainer(
            model=model, args=config, train_dataset=problems, peft_config=get_peft_config(recipe.model), verifier=pool
        )
        trainer.dataset_name = recipe.data.dataset
        finish_training(trainer, recipe.folder)
