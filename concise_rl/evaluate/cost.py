"""What exits spend besides the text of samples: means over problems, under the three regimes of `Cost`."""

from dataclasses import dataclass

import numpy as np

from concise_rl.evaluate.intervals import Estimate, estimate
from concise_rl.evaluate.statistics import Table


@dataclass(frozen=True)
class Spent:
    """Means over problems of the means over samples, with 95 % intervals.

    Attributes:
        text: tokens of the samples alone: what published tables count.
        probes: looks into the thinking.
        decoded: tokens that looks decoded. The label's tokens are these and the text's.
        dropped: tokens that were sampled and thrown away behind a stop. A server that stops at once draws none of them.
        prefilled_fork: tokens that looks prefill with a fork of the KV cache: what is forced behind the thinking.
        prefilled_cached: the same with a prefix cache, which computes the last, partial block again.
        prefilled_again: the same without a cache: whole prefixes, prompts included.
    """

    text: Estimate
    probes: Estimate
    decoded: Estimate
    dropped: Estimate
    prefilled_fork: Estimate
    prefilled_cached: Estimate
    prefilled_again: Estimate


def describe_cost(drawn: Table) -> Spent | None:
    """Summarise the samples of a label; None where no exit spent anything on any of them."""
    if not any(drawn.cost_PK(name).any() for name in ("probes", "dropped")):
        return None
    suffix_PK = drawn.cost_PK("suffix")
    return Spent(
        text=_mean(drawn.length_PK),
        probes=_mean(drawn.cost_PK("probes")),
        decoded=_mean(drawn.cost_PK("decoded")),
        dropped=_mean(drawn.cost_PK("dropped")),
        prefilled_fork=_mean(suffix_PK),
        prefilled_cached=_mean(suffix_PK + drawn.cost_PK("blocks")),
        prefilled_again=_mean(suffix_PK + drawn.cost_PK("prefixes")),
    )


def _mean(values_PK: np.ndarray) -> Estimate:
    return estimate(np.mean, values_PK.mean(axis=1))
