"""Batches for tests of methods that read facts."""

from collections.abc import Sequence
from typing import Any

import torch

from concise_rl.methods import RolloutBatch, StopReason

CAP = 64


def batch_with(
    correct: Sequence[float],
    length: Sequence[int],
    think_length: Sequence[int] | None = None,
    group: int = 0,
    **facts: Any,
) -> RolloutBatch:
    """A batch of one group, or of groups of `group`, with facts given as lists; what reaches the cap is unfinished."""
    length_B = torch.tensor(length)
    think_B = (length_B - 2).clamp(min=0) if think_length is None else torch.tensor(think_length)
    finished_B = length_B < CAP
    return RolloutBatch(
        correct=torch.tensor(correct, dtype=torch.float32),
        length=length_B,
        think_length=think_B,
        closed=finished_B,
        finished=finished_B,
        stop_reason=torch.where(finished_B, int(StopReason.EOS), int(StopReason.LENGTH)),
        num_generations=group or len(correct),
        max_length=CAP,
        step=0,
        facts={name: torch.tensor(values) for name, values in facts.items()},
    )
