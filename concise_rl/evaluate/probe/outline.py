"""A recipe that is to be written, in numbers: batch, machine, lengths."""

import math
from dataclasses import dataclass
from pathlib import Path

from concise_rl.evaluate.probe.advice import Advice, Choice, round_up
from concise_rl.evaluate.probe.findings import Measured
from concise_rl.evaluate.probe.settings import SETTINGS, Settings
from concise_rl.recipe.fit.hardware import Gpus

SMALL = 50_000_000
"""Parameters up to which a model is trained on a CPU."""
ROOM = 1024
"""The least tokens that are kept for a prompt beside the cap: a probe sees few prompts, and others are longer."""
LARGE = 3_000_000_000
"""Parameters from where on the weights themselves are split over the GPUs."""
ROLLOUTS = 1024
"""Of a step on GPUs: 128 prompts x 8, as S-GRPO and many after it."""
ROLLOUTS_ON_CPU = 128
DEFAULT_GPUS = Gpus(8, 80)


@dataclass(frozen=True)
class Outline:
    """A recipe to be written.

    Attributes:
        measured, advice: of the probe.
        method: the objective.
        path: of the recipe.
        gpus: on which it runs; None for a CPU.
        share: of a GPU's memory, for vLLM.
    """

    measured: Measured
    advice: Advice
    method: str
    path: Path
    gpus: Gpus | None
    share: float = 0.5

    @property
    def settings(self) -> Settings:
        """Return what the method takes."""
        return SETTINGS[self.method]

    @property
    def group(self) -> Choice:
        """Return the rollouts of a prompt."""
        if self.settings.group is None:
            return self.advice.group
        return Choice(self.settings.group, "what the method's exits make")

    @property
    def device_rows(self) -> int:
        """Return the rollouts of a micro-batch."""
        if self.gpus is None:
            return ROLLOUTS_ON_CPU
        return self.group.value if self.settings.ordered else 1

    @property
    def accumulation(self) -> int:
        """Return the micro-batches of a step on each process, which make whole groups."""
        if self.gpus is None:
            return 1
        unit = self.group.value // math.gcd(self.device_rows, self.group.value)
        return unit * max(1, round(ROLLOUTS / (self.gpus.count * self.device_rows * unit)))

    @property
    def prompts(self) -> int:
        """Return the prompts of a step."""
        processes = self.gpus.count if self.gpus else 1
        return processes * self.device_rows * self.accumulation // self.group.value

    @property
    def output_dir(self) -> str:
        """Return the folder of the run."""
        return f"runs/{self.path.stem}"

    @property
    def accelerate(self) -> str | None:
        """Return the accelerate configuration; None for one process."""
        if self.gpus is None or self.gpus.count == 1:
            return None
        parameters = self.measured.tokens.parameters or LARGE
        return f"launch/accelerate/{'zero3' if parameters >= LARGE else 'zero2'}.yaml"

    @property
    def room(self) -> int:
        """Return the tokens for a prompt beside the cap: twice the longest that was measured, at least `ROOM`."""
        return max(ROOM, round_up(2 * self.measured.tokens.prompts[100]))

    @property
    def cap(self) -> int:
        """Return the cap on completion tokens; lower than advised where the context leaves too little room for
        prompts."""
        context = self.measured.tokens.context
        if self.gpus is None or context is None:
            return self.advice.cap.value
        return min(self.advice.cap.value, context - self.room)
