"""Evaluation during training: its metrics are means over all rollouts, however these fall into batches.

transformers averages over batches, so that a last, smaller batch counts as much as a full one. With several processes
accelerate fills the last batch with rows from the beginning (accelerate/data_loader.py, `even_batches`), which would
count twice. Here a batch counts by its rows, and rows that only fill it up are told apart.
"""

from typing import Any

from torch import nn
from trl import GRPOTrainer


class EvalBatches(GRPOTrainer):
    """The part of the trainer that evaluates."""

    _rows_left = 0
    """Rollouts of the evaluation still to come, on all ranks."""
    _real_rows = 0
    """Rollouts of the current batch, on all ranks, that do not merely fill it up. They come first."""

    def evaluation_loop(self, dataloader: Any, *args: Any, **kwargs: Any) -> Any:
        self._rows_left = len(dataloader.dataset) * self._eval_group
        return super().evaluation_loop(dataloader, *args, **kwargs)

    def prediction_step(
        self, model: nn.Module, inputs: Any, prediction_loss_only: bool, ignore_keys: list[str] | None = None
    ) -> Any:
        """
        Raises:
            ValueError: when a batch holds part of a group.
        """
        self._real_rows = min(len(inputs) * self.accelerator.num_processes, self._rows_left)
        if self._real_rows % self._eval_group:
            raise ValueError(
                f"An evaluation batch of {self._real_rows} rollouts cuts a group of {self._eval_group}: make "
                f"per_device_eval_batch_size ({self.args.per_device_eval_batch_size}) x processes "
                f"({self.accelerator.num_processes}) a multiple of num_generations_eval."
            )
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


def demand_length(train_dataset: Any, eval_dataset: Any) -> None:
    """
    Raises:
        ValueError: for a stream of rows: epochs, curricula and resumed runs need to know how many there are.
    """
    parts = eval_dataset if isinstance(eval_dataset, dict) else {"": eval_dataset}
    for name, dataset in (("train_dataset", train_dataset), *(("eval_dataset", part) for part in parts.values())):
        if dataset is not None and not hasattr(dataset, "__len__"):
            raise ValueError(
                f"{name} has no length: hand ConciseTrainer a datasets.Dataset in place of a stream of rows."
            )
