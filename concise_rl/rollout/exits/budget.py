"""Exits that look at nothing: no thinking at all, or a fixed number of its tokens."""

from collections.abc import Sequence
from typing import ClassVar

from pydantic import Field

from concise_rl.rollout.exits.policy import ExitPolicy, Reading
from concise_rl.rollout.exits.tools import ExitTools


class NoThink(ExitPolicy):
    r"""Close the thinking before its first token, as Qwen3's chat template does with `enable_thinking=False`.

    What is forced is `\n</think>\n\n`, with `<think>\n` before it where the prompt does not open the thinking.
    NoThinking (https://hf.co/papers/2504.09858) forces a sentence there: `closing`.
    """

    def places(self, thinking_ids: Sequence[int], tools: ExitTools) -> list[int]:
        """See `ExitPolicy.places`."""
        return [0]

    def stops(self, readings: Sequence[Reading], tools: ExitTools) -> bool:
        """See `ExitPolicy.stops`."""
        return True


class Budget(ExitPolicy):
    r"""Close the thinking after so many tokens, where the model has not: the upper half of s1's budget forcing.

    s1 (https://hf.co/papers/2501.19393; simplescaling/s1, eval/lm-evaluation-harness/lm_eval/models/vllm_causallms.py)
    forces the delimiter and `Final Answer:` there; `closing` says so. `ThinkingBudget`, by which Elastic Reasoning
    trains, forces the delimiter alone and caps the answer, too: that is `--think-budget` with `--answer-budget`.
    """

    dial: ClassVar[str] = "limit"
    grid: ClassVar[tuple[float, ...]] = (16384, 8192, 4096, 2048, 1024, 512, 256, 192, 128, 96, 64, 48, 32, 16, 8, 0)

    limit: int = Field(512, ge=0)
    """Thinking tokens at most."""

    def places(self, thinking_ids: Sequence[int], tools: ExitTools) -> list[int]:
        """See `ExitPolicy.places`. The limit is not one of them."""
        return []

    def stops(self, readings: Sequence[Reading], tools: ExitTools) -> bool:
        """See `ExitPolicy.stops`. Nothing is read."""
        return False

    def draws(self, at: int) -> int:
        """See `ExitPolicy.draws`."""
        return max(1, self.limit - at)
