"""The limits by which a probe decides: what is measured, where the limit lies, and why it lies there."""

from collections.abc import Callable
from dataclasses import dataclass

from concise_rl.evaluate.intervals import Estimate
from concise_rl.evaluate.probe.rollouts import Rollouts

Fact = Callable[[Rollouts], Estimate]
UNKNOWN = Estimate(None, None)


@dataclass(frozen=True)
class Limit:
    """A number that parts two kinds of models.

    Attributes:
        fact: what is compared with it.
        at: the limit.
        above: whether the fact has to be at least this; else at most.
        words: the fact, as a sentence names it.
        reason: why the limit lies here.
    """

    fact: Fact
    at: float
    above: bool
    words: str
    reason: str

    def holds(self, rollouts: Rollouts) -> bool | None:
        """Say whether the limit is kept. None where the fact is not known, or its 95 % interval spans the limit."""
        found = self.fact(rollouts)
        if found.value is None:
            return None
        low, high = found.ci95 or (found.value, found.value)
        if low >= self.at:
            return self.above
        if high < self.at:
            return not self.above
        return None


def _groups_of_8(name: str) -> Fact:
    def fact(rollouts: Rollouts) -> Estimate:
        groups = rollouts.group(8)
        return getattr(groups, name) if groups else UNKNOWN

    return fact


LIMITS: dict[str, Limit] = {
    "rarely_cut": Limit(
        lambda r: r.cut, 0.1, False, "samples that the cap cut off",
        "a cut sample counts as wrong, so that accuracy is understated by up to this share",
    ),
    "half_cut": Limit(
        lambda r: r.cut, 0.5, False, "samples that the cap cut off",
        "where most rollouts are cut, groups are all wrong and nothing is learnt but to be shorter than the cap",
    ),
    "closed": Limit(
        lambda r: r.closed, 0.9, True, "ended samples with one closing delimiter",
        "a sample without exactly one closing delimiter has no answer part and counts as wrong",
    ),
    "closed_at_all": Limit(
        lambda r: r.closed, 0.5, True, "ended samples with one closing delimiter",
        "a model that mostly closes its thinking otherwise, or not at all, needs another think_end",
    ),
    "right_enough": Limit(
        lambda r: r.accuracy, 0.25, True, "accuracy",
        "a group of 8 then has two right rollouts, and the methods compare right rollouts with each other",
    ),
    "mostly_right": Limit(
        lambda r: r.accuracy, 0.5, True, "accuracy",
        "a length penalty on problems that are mostly wrong costs accuracy; that is what a gate by pass rate is for",
    ),
    "worth_it": Limit(
        lambda r: r.saved, 0.1, True, "tokens that stopping at the first statement would save",
        "less than a tenth is not worth a training run, and an evaluation of a few hundred problems hardly sees it",
    ),
    "redundant": Limit(
        lambda r: r.redundant, 0.3, True, "thinking after the first statement of the answer",
        "methods that credit tokens by a judge's labels act on this part alone, and pay for a judge in each step",
    ),
    "stated": Limit(
        lambda r: r.stated, 0.8, True, "right samples whose thinking states the answer",
        "where the thinking does not state the answer, nothing is found redundant, and LC-R1 charges the closing tag",
    ),
    "gate": Limit(
        _groups_of_8("all_right"), 0.2, True, "groups of 8 that are all right",
        "GRPO-lambda penalises the best 20 % of the groups: these are then groups without an error",
    ),
    "mixed": Limit(
        _groups_of_8("mixed"), 0.1, True, "groups of 8 with mixed verdicts",
        "only groups of mixed verdicts teach correctness; with fewer than a tenth of them most of a batch is idle",
    ),
    "long_paths": Limit(
        lambda r: r.path_over_answer, 8.0, True, "thinking tokens for each token of the answer",
        "the answers of 7 exits then cost less than one more path, which is what serial groups save",
    ),
}  # fmt: skip
"""By name. 95 % intervals decide: where one spans the limit, the probe says that it does not know."""
