"""Describe what a label's samples say about overthinking: how soon the thinking has the answer, and how long it goes
on then."""

from dataclasses import dataclass

import numpy as np

from concise_rl.evaluate.intervals import Estimate
from concise_rl.evaluate.samples import MEASURES
from concise_rl.evaluate.statistics import Table, mean_of_samples


@dataclass(frozen=True)
class Overthinking:
    """Means over problems of the means over samples, with 95 % intervals; None where there is nothing to average.

    Attributes:
        reflections: cues of reflection in the thinking, over all samples.
        states_answer: share of the correct samples whose thinking states the gold answer.
        necessary_prefix: share of the passages of the thinking up to and with the first that states it. This and the
            two below are over the correct samples whose thinking states it.
        redundant_tokens: thinking tokens after that passage.
        overshoot: thinking tokens after the line, in that passage, which first states it.
        labelled: how many correct samples a judge has read.
    """

    reflections: Estimate
    states_answer: Estimate
    necessary_prefix: Estimate
    redundant_tokens: Estimate
    overshoot: Estimate
    labelled: int


def describe_thinking(drawn: Table) -> Overthinking:
    """Summarise the samples of a label."""
    estimates = {name: mean_of_samples(drawn, drawn.measures_PK[name]) for name in MEASURES}
    return Overthinking(**estimates, labelled=int((~np.isnan(drawn.measures_PK["states_answer"])).sum()))
