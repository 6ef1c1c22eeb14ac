"""Supervised fine-tuning by a recipe (`stage: sft`): what makes the embedded reasoner, and any cold start."""

from trl import SFTTrainer

from concise_rl.recipe.parse import Recipe
from concise_rl.train.offline import Offline, train_offline


class DemonstrationTrainer(Offline, SFTTrainer):
    """TRL's, with checkpoints that a run that is cut can go on from, and without steps that are not finite."""


def train_sft(recipe: Recipe) -> None:
    """Train on the recipe's demonstrations."""
    train_offline(recipe, DemonstrationTrainer)
