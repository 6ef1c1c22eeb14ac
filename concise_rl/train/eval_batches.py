"""Evaluation during training: its metrics are means over all rollouts, however these fall into batches.

transformers averages over batches, so that a last, smaller batch counts as much as a full one. With several processes
accelerate fills the last batch with rows from the beginning (accelerate/data_loader.py, `even_batches`), which would
count twice. Here a batch counts by its rows, and rows that only fill it up are told apart.
"""

from typing import Any

from torch import nn
from trl import GRPOTrainer

from concise_rl.recipe.compatibility import check_datasets
from concise_rl.recipe.config import ConciseConfig


class EvalBatches(GRPOTrainer):
    """The part of the trainer that evaluates."""

    args: ConciseConfig
    _rows_left = 0
    """Rollouts of the evaluation still to come, on all ranks."""
    _real_rows = 0
    """Rollouts of the current batch, on all ranks, that do not merely fill it up. They come first."""

    def _get_eval_sampler(self, eval_dataset: Any) -> Any:
        check_datasets(eval_dataset)
        self.args.check_evaluation()
        return super()._get_eval_sampler(eval_dataset)

    def evaluation_loop(self, dataloader: Any, *args: Any, **kwargs: Any) -> Any:
        self._rows_left = len(dataloader.dataset) * self._eval_group
        return super().evaluation_loop(dataloader, *args, **kwargs)

    def prediction_step(
        self, model: nn.Module, inputs: Any, prediction_loss_only: bool, ignore_keys: list[str] | None = None
    ) -> Any:
        self._real_rows = min(len(inputs) * self.accelerator.num_processes, self._rows_left)
        assert self._real_rows % self._eval_group == 0, "batches hold whole groups: checked with the sampler"
        metrics = self._metrics["eval"]
        before = {key: len(values) for key, values in metrics.items()}
        result = super().prediction_step(model, inputs, prediction_loss_only, ignore_keys)
        self._rows_left -= self._real_rows
        for key, values in metrics.items():  # TRL logs their plain mean
            values[before.get(key, 0) :] = values[before.get(key, 0) :] * self._real_rows
        return result

    @property
    def _eval_group(self) -> int:
        assert self.num_generations_eval is not None, "TRL has set it"
        return self.num_generations_eval

    def _eval_fillers(self, rows: int) -> list[bool]:
        """Which of this rank's rows merely fill the batch up."""
        first = self.accelerator.process_index * rows
        return [first + row >= self._real_rows for row in range(rows)]
