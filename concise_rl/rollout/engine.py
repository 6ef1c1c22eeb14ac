"""The seam to whatever generates: prompt ids in; completion ids and stop reason out. Training and evaluation share
it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from concise_rl.trace import StopReason


@dataclass(frozen=True)
class Sampling:
    """How to sample. The defaults are the full distribution: anything else biases the importance ratio in training.

    Attributes:
        max_tokens: cap on completion tokens.
        temperature: 0 for greedy.
        top_p, top_k, min_p: truncations of the distribution; 1.0, 0 and 0.0 are off.
        seed: seeds the generator for this call; None draws from the global one.
    """

    max_tokens: int
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    seed: int | None = None


@dataclass(frozen=True)
class Completion:
    """What came out for one prompt: at least one token (an EOS counts), and why it ended."""

    ids: list[int]
    stop_reason: StopReason


class Engine(Protocol):
    """Something that completes prompts."""

    def generate(
        self, prompts: Sequence[Sequence[int]], sampling: Sampling, progress: Callable[[int], None] | None = None
    ) -> list[Completion]:
        """One completion for each prompt (token ids), in order.

        Args:
            prompts: token ids, one sequence for each completion wanted; repeat a prompt for several samples of it.
            sampling: shared by all prompts.
            progress: called with the number of completions that have just ended.
        """
        ...
