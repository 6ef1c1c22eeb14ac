"""What is known of each rollout: declared once by whoever adds it, and gathered by its declaration."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Fact:
    """A number, or a fixed count of numbers, that is known of each rollout.

    Attributes:
        name: by which a batch has it.
        width: numbers for each rollout. A batch holds (B,) where it is 1, else (B, width).
        dtype: theirs: int64 for counts, places and hashes.
    """

    name: str
    width: int = 1
    dtype: torch.dtype = torch.float32

    def columns(self, values: Sequence[Any], device: Any) -> Tensor:
        """Return (B, width) from a number, or a tuple of numbers, for each rollout."""
        return torch.tensor(values, dtype=self.dtype, device=device).view(-1, self.width)
