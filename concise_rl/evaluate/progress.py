"""Count how far the sampling of one model is."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass, field

from concise_rl.evaluate.samples import Sample
from concise_rl.evaluate.statistics import MOSTLY_TRUNCATED
from concise_rl.reading.trace import StopReason

logger = logging.getLogger(__name__)


@dataclass
class Progress:
    """Hold which samples there are, and what is worth watching about them."""

    title: str
    total: int
    prompt_hashes: dict[tuple[int, int], str] = field(default_factory=dict)
    tokens: int = 0
    right: int = 0
    graded: int = 0
    truncated: int = 0

    @property
    def missing(self) -> int:
        """Return the samples still to be drawn."""
        return self.total - len(self.prompt_hashes)

    def add(self, samples: Iterable[Sample]) -> None:
        """Count samples that are on disk."""
        for sample in samples:
            self.prompt_hashes[sample.problem, sample.sample] = sample.prompt_hash
            self.tokens += sample.length
            self.right += sample.correct or 0
            self.graded += sample.correct is not None
            self.truncated += sample.stop_reason == StopReason.LENGTH.label

    def summary(self) -> dict[str, str]:
        """Write the numbers beside the progress bar."""
        return {
            "tokens": f"{self.tokens / max(1, len(self.prompt_hashes)):.1f}",
            "accuracy": f"{self.right / max(1, self.graded):.1%}",
        }

    def warn_if_truncated(self, max_tokens: int) -> None:
        """Say so loudly when most completions never came to their end: their accuracy and length say little."""
        if self.truncated > MOSTLY_TRUNCATED * len(self.prompt_hashes):
            logger.warning(
                "%s: %d of %d samples hit the cap of %d tokens. They count as they are: mostly without an answer, "
                "and no longer than the cap. Raise --max-tokens for numbers that mean something.",
                self.title, self.truncated, len(self.prompt_hashes), max_tokens,
            )  # fmt: skip
