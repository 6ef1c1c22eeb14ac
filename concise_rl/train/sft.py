"""Supervised fine-tuning by a recipe (`stage: sft`): what makes the embedded reasoner, and any cold start."""

from trl import SFTTrainer

from concise_rl.recipe.parse import Recipe
from concise_rl.train.checkpoint import WholeCheckpoints
from concise_rl.train.finite import FiniteSteps
from concise_rl.train.offline import train_offline
from concise_rl.train.watch.events import Told


class DemonstrationTrainer(Told, FiniteSteps, WholeCheckpoints, SFTTrainer):
    """TRL's, with checkpoints that a run that is cut can go on from, and without steps that are not finite."""


def train_sft(recipe: Recipe) -> None:
    """Train on the recipe's demonstrations."""
    train_offline(recipe, DemonstrationTrainer)
