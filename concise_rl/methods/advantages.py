"""Turn rewards into group-relative advantages.

Axis letters in tensor names: P prompts, G members of a group, B = P * G completions."""

from typing import Literal

import torch
from torch import Tensor

ScaleRewards = Literal["group", "batch", "none"]


def group_advantages(rewards_PG: Tensor, scale: ScaleRewards = "group", eps: float = 1e-4) -> Tensor:
    """Rewards minus their group's mean, over a standard deviation (unbiased): TRL's operations in TRL's order.

    A group whose rewards are all equal gets exactly 0, where rounding would leave noise that `eps` does not tame.
    Rewards that are NaN (could not be judged) stay out of the statistics and get 0.

    Args:
        rewards_PG: (P, G).
        scale: whose standard deviation divides: the group's, the batch's, or none.
        eps: added to it. TRL has 1e-4; published codes mostly 1e-6.

    Returns:
        (P, G) advantages, finite.
    """
    centred_PG = rewards_PG - torch.nanmean(rewards_PG, dim=1, keepdim=True)
    if scale == "group":
        centred_PG = centred_PG / (_std(rewards_PG, dim=1) + eps)
    elif scale == "batch":
        centred_PG = centred_PG / (_std(rewards_PG.flatten(), dim=0) + eps)
    flat_P = ~has_signal(rewards_PG)
    return torch.nan_to_num(centred_PG, nan=0.0).masked_fill(flat_P[:, None], 0.0)


def _std(rewards: Tensor, dim: int) -> Tensor:
    """Unbiased, over what is not NaN, dimension kept; 0 where there is only one value at all.

    TRL's `nanstd`, except that its count is in torch's default dtype, which costs float64 rewards their precision.
    """
    if rewards.size(dim) == 1:
        return torch.zeros_like(rewards)
    deviation = rewards - rewards.nanmean(dim=dim, keepdim=True)
    variance = torch.nanmean(deviation**2, dim=dim, keepdim=True)
    count = (~rewards.isnan()).sum(dim=dim, keepdim=True).to(rewards.dtype)
    return torch.sqrt(variance * (count / (count - 1)))


def has_signal(rewards_PG: Tensor) -> Tensor:
    """(P,) whether a group's rewards differ at all. Exact: a standard deviation near 0 would need a threshold."""
    high_P = rewards_PG.nan_to_num(nan=-torch.inf).amax(dim=1)
    low_P = rewards_PG.nan_to_num(nan=torch.inf).amin(dim=1)
    return high_P > low_P
