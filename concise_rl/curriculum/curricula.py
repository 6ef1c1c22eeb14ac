"""Curricula: which of the sampled groups a step is trained on, and how many to sample so that there are enough."""

import statistics
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from concise_rl.named import find_class, with_options

Values = Mapping[str, float]
"""What a curriculum knows of the run so far, by name. Logged as it is."""


class Curriculum(BaseModel, ABC):
    """Which sampled groups a step is trained on. Options are fields, as in an `Objective`; it holds no state itself.

    Mixed groups are always used, groups that are wrong throughout or have no verdict never. How many of those that are
    right throughout is for the curriculum to say, from the counts of all ranks.

    Class attributes:
        paper: where it is published.
        labels: `chunk` or `sentence`, what thinking is cut into for the `ratios` of `observe`. None: it needs none.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)

    paper: ClassVar[str]
    labels: ClassVar[Literal["chunk", "sentence"] | None] = None

    rounds: int = Field(4, ge=1)
    """Times that a step samples at most. What is missing then stays empty; without a single usable group, it fails."""

    def initial(self) -> dict[str, float]:
        """What it knows before the first step: numbers by name, logged as `curriculum/NAME`."""
        return {}

    @abstractmethod
    def easy_quota(self, rounds: Sequence[tuple[int, int]], values: Values, step: int) -> int:
        """How many groups that are right throughout this step may use.

        Args:
            rounds: for each round of sampling in this step a pair of counts over all ranks: mixed groups, and groups
                right throughout. The last is the round just sampled.
            values: what it knows, by name.
            step: optimizer steps done so far.
        """

    def observe(self, values: Values, ratios: Sequence[float], easy_share: float) -> dict[str, float]:
        """What it knows after a step.

        Args:
            values: what it knew before.
            ratios: of each rollout that was trained on, on all ranks, the necessary share of its thinking; 0 where
                there is none (see `RolloutBatch.necessary`). Empty where nothing labels rollouts.
            easy_share: share of the sampled groups that are right throughout, from 0 to 1.
        """
        return dict(values)


class DynamicSampling(Curriculum):
    """DAPO's dynamic sampling (Yu et al.): mixed groups only, as only these have an advantage under GRPO.

    Not for methods that learn from the lengths of groups without errors.
    """

    paper: ClassVar[str] = "https://hf.co/papers/2503.14476"

    def easy_quota(self, rounds: Sequence[tuple[int, int]], values: Values, step: int) -> int:
        """None."""
        return 0


class TwoStage(Curriculum):
    """ConciseR's two stages (Song and Zheng): mixed groups only at first, then also those that are right throughout.

    From `switch_step` on the latter are used as mixed ones are. What the second stage rewards is the objective's
    business.
    """

    paper: ClassVar[str] = "https://hf.co/papers/2505.21178"

    switch_step: int = Field(ge=0)
    """Optimizer steps after which groups that are right throughout are used, too. Not published."""

    def easy_quota(self, rounds: Sequence[tuple[int, int]], values: Values, step: int) -> int:
        """None in the first stage, all of them in the second."""
        return sum(easy for _, easy in rounds) if step >= self.switch_step else 0


def kappa_quota(kappa: float, mixed: int, easy: int) -> tuple[int, int]:
    """Groups right throughout to add to mixed ones for a share of kappa, and the mixed ones still to be counted.

    Args:
        kappa: 0 or below adds none and counts none; 1 or above adds all.
        mixed: groups since the quota was last 1 or more: one is due once there are enough of them, not before.
        easy: groups there are to add. What the quota has beyond these is lost, as in the published code.
    """
    if kappa <= 0:
        return 0, 0
    quota = int(kappa * mixed / (1 - kappa)) if kappa < 1 else easy
    return min(quota, easy), 0 if quota > 0 else mixed


class Kappa(Curriculum):
    """DECS's curriculum (Jiang et al.): easy groups up to a share kappa, which rises as redundancy goes.

    R is the mean, over rollouts that have one, of the share of passages up to the first that states the answer. After
    each step kappa += `kappa_lr` * (R - R before). A step without any such rollout leaves it as it is. In a batch of n
    groups a share under 1 / (n + 1) adds none.

    `variant: code` is the published code, in which kappa - `kappa_init` = `kappa_lr` * (R - `ratio_init`) throughout;
    `paper` is equation 11, which clips kappa to [0, share of sampled groups that are right throughout] at each step.
    Different from the code: which easy groups are added is not drawn but follows the order of sampling, which is random
    itself; of more groups than fit, both kinds are cut in proportion.
    """

    paper: ClassVar[str] = "https://hf.co/papers/2509.25827"
    labels: ClassVar[Literal["chunk", "sentence"] | None] = "chunk"

    kappa_lr: float = Field(0.2, ge=0)
    """How much of the change of R goes into kappa. The published value is 0.2."""
    kappa_init: float = Field(0.0, lt=1)
    """kappa before the first step."""
    ratio_init: float = Field(0.5, gt=0, le=1)
    """R before the first step."""
    variant: Literal["code", "paper"] = "code"
    """Whether kappa is free, as in the published code, or clipped, as in the paper."""

    def initial(self) -> dict[str, float]:
        """kappa and R."""
        return {"kappa": self.kappa_init, "ratio": self.ratio_init}

    def easy_quota(self, rounds: Sequence[tuple[int, int]], values: Values, step: int) -> int:
        """The quotas of all rounds; mixed groups that did not suffice for one count in the next."""
        total, waiting = 0, 0
        for mixed, easy in rounds:
            quota, waiting = kappa_quota(values["kappa"], waiting + mixed, easy)
            total += quota
        return total

    def observe(self, values: Values, ratios: Sequence[float], easy_share: float) -> dict[str, float]:
        """kappa and R after the step."""
        stated = [ratio for ratio in ratios if ratio > 0]
        if not stated:
            return dict(values)
        ratio = statistics.fmean(stated)
        kappa = values["kappa"] + self.kappa_lr * (ratio - values["ratio"])
        return {"kappa": min(max(kappa, 0.0), easy_share) if self.variant == "paper" else kappa, "ratio": ratio}


CURRICULA: dict[str, type[Curriculum]] = {
    "dynamic_sampling": DynamicSampling,
    "kappa": Kappa,
    "two_stage": TwoStage,
}


def build_curriculum(name: str, options: dict[str, Any] | None = None) -> Curriculum:
    """Build the curriculum a recipe names: a key of `CURRICULA`, or the dotted path of a class of the user's own.

    Raises:
        ValueError: for an unknown name or option (naming the nearest), a value out of bounds, or when the path is not
            that of a `Curriculum`.
    """
    return with_options("curriculum", name, find_class("curriculum", name, CURRICULA, Curriculum), options)
