"""Metrics of micro-batches as those of a step, however its rollouts fall into micro-batches and on ranks.

TRL 1.16 takes the mean of each micro-batch over the tokens of all ranks, and then the plain mean over micro-batches, in
which one of few tokens counts as much as one of many (grpo_trainer.py: `_compute_loss`, `log`). Private parts of TRL in
use: `_compute_loss`, `_metrics`.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from trl import GRPOTrainer

from concise_rl.recipe.config import ConciseConfig

TOKENS = "_tokens"
"""The key under which this rank's tokens in the loss of each micro-batch wait for the next log, in checkpoints too."""
OF_TOKENS = ("entropy", "kl")
CLIPPED = ("clip_ratio/low_mean", "clip_ratio/high_mean", "clip_ratio/region_mean", "cispo_clip_ratio")
"""Of tokens, too, unless the ratio is one of whole rollouts, of which all micro-batches have as many."""
EXTREMES = {"clip_ratio/low_min": min, "clip_ratio/high_max": max}
OF_A_RANK = ("padding/forwarded", "prefix/forwarded")
"""What each rank has noted for itself, as often as the others."""


def weighed(values: Sequence[float], tokens: Sequence[float]) -> float:
    """Return the mean over tokens of the means of micro-batches; 0 where no token is in the loss."""
    return sum(value * count for value, count in zip(values, tokens, strict=True)) / max(sum(tokens), 1)


class TokenMeans(GRPOTrainer):
    """The part of the trainer that logs a step's micro-batches as one."""

    args: ConciseConfig

    def _compute_loss(self, model: nn.Module, inputs: dict[str, Any]) -> Tensor:
        assert self.model is not None
        if self.model.training:  # an evaluation weighs by rows: see `EvalBatches`
            mask_BT = inputs["completion_mask"] * inputs.get("tool_mask", 1)
            self._metrics["train"][TOKENS].append(mask_BT.sum().item())
        return super()._compute_loss(model, inputs)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log as TRL does. All ranks call it at once."""
        assert self.model is not None
        metrics = self._metrics["train" if self.model.training else "eval"]
        tokens = metrics.pop(TOKENS, [])
        if tokens:
            of_all = self._over_ranks(tokens)
            for name in (*OF_TOKENS, *(CLIPPED if self.importance_sampling_level == "token" else ())):
                if len(metrics.get(name, [])) == len(tokens):  # not in a window that another version began
                    metrics[name] = [weighed(metrics[name], of_all)]
        for name, extreme in EXTREMES.items():
            if known := [value for value in metrics.get(name, []) if not math.isnan(value)]:
                metrics[name] = [extreme(known)]
        for name in OF_A_RANK:
            if values := metrics.get(name):
                metrics[name] = [self._over_ranks([sum(values) / len(values)])[0] / self.accelerator.num_processes]
        super().log(logs, start_time)

    def _over_ranks(self, values: Sequence[float]) -> list[float]:
        """Return the sums over all ranks."""
        mine = torch.tensor(values, dtype=torch.float32, device=self.accelerator.device)  # MPS has no float64
        return self.accelerator.reduce(mine, reduction="sum").tolist()
