"""Supervised fine-tuning by a recipe (`stage: sft`): what makes the embedded reasoner, and any cold start."""

from transformers import set_seed
from trl import SFTTrainer, get_peft_config

from concise_rl.models.resolve import resolve_model
from concise_rl.recipe.demonstrations import load_demonstrations
from concise_rl.recipe.parse import Recipe
from concise_rl.recipe.precision import check_dtype, check_weights
from concise_rl.recipe.preflight import check_rows
from concise_rl.train.callbacks import MetricsFile, use_progress_bar
from concise_rl.train.checkpoint import WholeCheckpoints, demand_trainable
from concise_rl.train.finite import FiniteSteps
from concise_rl.train.watch.events import Told


class DemonstrationTrainer(Told, FiniteSteps, WholeCheckpoints, SFTTrainer):
    """TRL's, with checkpoints that a run that is cut can go on from, and without steps that are not finite."""


def train_sft(recipe: Recipe) -> None:
    """Train on the recipe's demonstrations."""
    from concise_rl.train.finish import finish_training
    from concise_rl.train.folder import claim_folder

    set_seed(recipe.training.seed)
    check_dtype(recipe.training, adapters=recipe.model.use_peft)
    model, demonstrations = resolve_model(recipe.model_name), load_demonstrations(recipe)
    check_rows(len(demonstrations), recipe)
    claim_folder(recipe)
    trainer = DemonstrationTrainer(
        model=model,
        args=recipe.training,
        train_dataset=demonstrations,
        peft_config=get_peft_config(recipe.model),
        callbacks=[MetricsFile()],
    )
    check_weights(trainer)
    demand_trainable(trainer.model)
    use_progress_bar(trainer)
    finish_training(trainer, recipe.folder)
