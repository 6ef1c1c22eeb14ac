"""Train on rows that are there before the training begins."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers import set_seed
from trl import get_peft_config

from concise_rl.models.resolve import resolve_model
from concise_rl.recipe.demonstrations import LOADERS
from concise_rl.recipe.parse import Recipe
from concise_rl.recipe.precision import check_dtype, check_weights
from concise_rl.recipe.preflight import check_rows
from concise_rl.train.callbacks import MetricsFile, use_progress_bar
from concise_rl.train.checkpoint import WholeCheckpoints, demand_trainable, made_by, makers_of
from concise_rl.train.finish import finish_training
from concise_rl.train.finite import FiniteSteps
from concise_rl.train.folder import claim_folder
from concise_rl.train.watch.events import Told

logger = logging.getLogger(__name__)


class Offline(Told, FiniteSteps, WholeCheckpoints):
    """For a trainer: checkpoints that a run that is cut can go on from, no steps that are not finite, and a word on
    what another number of processes changes."""

    def _load_rng_state(self: Any, checkpoint: str | None) -> None:
        super()._load_rng_state(checkpoint)
        if checkpoint is not None and self.is_world_process_zero():
            said = what_changes(makers_of(Path(checkpoint)), made_by(self), self.args.train_sampling_strategy)
            logger.warning(said) if said else None


def what_changes(before: Mapping[str, int], now: Mapping[str, int], order: str) -> str:
    """Say what another number of processes means for a run on rows; empty where it is the same, or not known.

    Args:
        before: see `made_by`; empty for checkpoints of older versions.
        now: the same.
        order: of the rows, as transformers calls it.
    """
    if before.get("processes") in (None, now["processes"]):
        return ""
    said = f"The checkpoint was written by {before['processes']} processes and goes on with {now['processes']}."
    others = "this epoch's rows come in other batches, some again and some not at all."
    if before["rows"] != now["rows"]:
        return (
            f"{said} A step has {now['rows']} rows, not {before['rows']}: {others} Set per_device_train_batch_size or "
            "gradient_accumulation_steps so that the products are as before."
        )
    if order not in ("random", "sequential"):
        return f"{said} With train_sampling_strategy {order} {others}"
    return f"{said} Steps have the same rows: only the rounding of sums changes, and what dropout draws."


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
