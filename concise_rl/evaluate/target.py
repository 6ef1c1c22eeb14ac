"""Describe how well a label's samples keep to the tokens that their prompts ask for: the fact `target` of a prompt
writer."""

from dataclasses import dataclass

import numpy as np

from concise_rl.evaluate.intervals import Estimate, estimate, mean_of_known
from concise_rl.evaluate.statistics import Table


@dataclass(frozen=True)
class Target:
    """Means over problems of the means over samples, with 95 % intervals (L1, https://hf.co/papers/2503.04697).

    Attributes:
        missed_by: tokens between a sample's length and its target, on either side.
        within: share of the samples that have no more tokens than their target.
    """

    missed_by: Estimate
    within: Estimate


def describe_target(drawn: Table) -> Target | None:
    """Summarise the samples of a label. Those that were given up have no length; None where no prompt has a target."""
    missed_PK, within_PK = drawn.measures_PK["missed_by"], drawn.measures_PK["within_target"]
    if np.isnan(missed_PK).all():
        return None
    return Target(estimate(np.mean, mean_of_known(missed_PK)), estimate(np.mean, mean_of_known(within_PK)))
