"""Judged rollouts as the columns of a tensor, which ranks can gather, and back as the batch that an objective reads."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from concise_rl.labels.labeller import Labels
from concise_rl.methods import RolloutBatch
from concise_rl.rollout.collect import Judged
from concise_rl.rollout.plans.plan import Rollout

NAN = float("nan")
COLUMNS = 10


def to_columns(judged: Judged, labels: Sequence[Labels] | None, filler: Sequence[bool], device: Any) -> Tensor:
    """(B, 10) float32: verdict, length, think_length, closed, finished, stop reason, filler, start and end of the
    redundant tokens, necessary share. The last three are 0 without labels. Counts are exact below 2^24; float64 is not
    on every device."""
    of_labels = [(*one.redundant, one.necessary) for one in labels] if labels else [(0, 0, 0)] * len(judged.rows)
    of_traces = [(t.length, t.think_length, t.answer_ids is not None, t.finished) for t in judged.traces]
    columns = [
        (NAN if verdict is None else verdict, *of_trace, rollout.stop_reason, fills)
        for verdict, of_trace, rollout, fills in zip(judged.verdicts, of_traces, judged.rollouts, filler, strict=True)
    ]
    rows = [(*one, *other) for one, other in zip(columns, of_labels, strict=True)]
    return torch.tensor(rows, dtype=torch.float32, device=device).view(-1, COLUMNS)


def to_batch(
    columns_BC: Tensor, num_generations: int, max_length: int, step: int, *, labelled: bool
) -> tuple[RolloutBatch, Tensor]:
    """Undo `to_columns`: the batch, on the CPU, where all objectives have float64, and (B,) whether a rollout is a
    filler."""
    columns_BC = columns_BC.cpu()
    correct_B, length_B, think_length_B, closed_B, finished_B, stop_B, filler_B, *_, necessary_B = columns_BC.unbind(1)
    batch = RolloutBatch(
        correct=correct_B.clone(),
        length=length_B.long(),
        think_length=think_length_B.long(),
        closed=closed_B.bool(),
        finished=finished_B.bool(),
        stop_reason=stop_B.long(),
        num_generations=num_generations,
        max_length=max_length,
        step=step,
        redundant=columns_BC[:, 7:9].long() if labelled else None,
        necessary=necessary_B if labelled else None,
    )
    return batch, filler_B.bool()


def fit_width(advantages_BT: Tensor, width: int) -> Tensor:
    """Crop, or pad with 0, to this rank's completion width: ranks pad their completions each for itself."""
    extra = width - advantages_BT.size(1)
    return nn.functional.pad(advantages_BT, (0, extra)) if extra > 0 else advantages_BT[:, :width]


def loss_mask(rollout: Rollout, kept: int) -> list[int]:
    """For each token 1 if the loss reads it: those that the plan trains on, among the first `kept`."""
    trained = rollout.trained or [True] * len(rollout.ids)
    return [int(i < kept and is_trained) for i, is_trained in enumerate(trained)]
