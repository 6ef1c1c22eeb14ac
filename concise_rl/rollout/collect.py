"""From rows to judged rollouts, on one rank."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from itertools import islice
from typing import Any

from transformers import PreTrainedTokenizerBase

from concise_rl.reading.trace import Delimiters, StopReason, Trace, read_trace
from concise_rl.rollout.engine import Asked, Engine, Landed, Progress, Request, Sampling
from concise_rl.rollout.plans.plan import Plan, Rollout
from concise_rl.rollout.shortest import ShortestOnly
from concise_rl.verify.grade import earned, grade
from concise_rl.verify.pool import VerifierPool

Row = dict[str, Any]


@dataclass(frozen=True)
class Judged:
    """Rollouts of a rank and what is known of them. The lists are aligned; the members of a group stand together.

    Attributes:
        rows: of the data set, one for each rollout.
        prompt_ids: tokens of their prompts.
        rollouts: what was sampled; see `Rollout`.
        traces: how each of them reads; see `Trace`.
        verdicts: 1, 0, or None where it could not be judged or was given up.
        facts: what else is known of each, by name: a number, or a tuple of them.
    """

    rows: list[Row]
    prompt_ids: list[list[int]]
    rollouts: list[Rollout]
    traces: list[Trace]
    verdicts: list[float | None]
    facts: dict[str, list[Any]] = field(default_factory=dict)

    @property
    def earned(self) -> list[float | None]:
        """The verdicts, but 0 for rollouts that did not end by themselves: so they count, also in an evaluation."""
        return [earned(*pair) for pair in zip(self.verdicts, self.traces, strict=True)]

    def take(self, indices: Sequence[int]) -> "Judged":
        """Some of the rollouts, in the order of `indices`."""
        lists = [[values[i] for i in indices] for values in self._lists()]
        return Judged(*lists, {name: [values[i] for i in indices] for name, values in self.facts.items()})

    def __add__(self, other: "Judged") -> "Judged":
        facts = {name: self.facts.get(name, []) + other.facts.get(name, []) for name in {**self.facts, **other.facts}}
        return Judged(*(mine + theirs for mine, theirs in zip(self._lists(), other._lists(), strict=True)), facts)

    def knowing(self, **facts: list[Any]) -> "Judged":
        """Return the same rollouts with more facts."""
        assert all(len(values) == len(self.rows) for values in facts.values()), "facts are aligned with rollouts"
        return replace(self, facts=self.facts | facts)

    def _lists(self) -> list[list[Any]]:
        return [getattr(self, column.name) for column in fields(self) if column.name != "facts"]


def with_probe_shares(rollout: Rollout, verdicts: Sequence[float | None]) -> Rollout:
    """Add the fact `probe_correct`, the share of right answers at each place of the fact `probe_at`.

    Args:
        rollout: one that has been probed; any other comes back as it is.
        verdicts: of its probes.

    Returns:
        The rollout. The share is NaN where no verdict could be had, and where `probe_at` says that there is no place.
    """
    if "probe_at" not in rollout.facts:
        return rollout
    found: dict[int, list[float]] = {at: [] for at in rollout.facts["probe_at"]}
    for probe, verdict in zip(rollout.probes, verdicts, strict=True):
        found[probe.at] += [] if verdict is None else [verdict]
    shares = [sum(here) / len(here) if here else math.nan for here in map(found.__getitem__, rollout.facts["probe_at"])]
    return replace(rollout, facts={**rollout.facts, "probe_correct": tuple(shares)})


@dataclass(frozen=True)
class Collector:
    """Samples and judges."""

    engine: Engine
    plan: Plan
    sampling: Sampling
    delimiters: Delimiters
    tokenizer: PreTrainedTokenizerBase
    verifier: VerifierPool

    def sample(
        self,
        prompt_ids: Sequence[list[int]],
        max_tokens: int,
        seeds: Sequence[int],
        give_up: ShortestOnly | None = None,
        progress: Progress | None = None,
        landed: Landed | None = None,
    ) -> list[Rollout]:
        """Sample one rollout for each prompt.

        Args:
            prompt_ids: tokens of the prompts.
            max_tokens: cap on completion tokens.
            seeds: one for each prompt.
            give_up: see `Asked`.
            progress: see `Asked`.
            landed: see `Asked`; for a plan of one call.

        Raises:
            ValueError: when the plan returns another number.
        """
        requests = [Request(ids, max_tokens, seed) for ids, seed in zip(prompt_ids, seeds, strict=True)]
        rollouts = self.plan.rollouts(self.engine, Asked(requests, self.sampling, progress, give_up, landed))
        if len(rollouts) != len(requests):
            plan = type(self.plan).__name__
            raise ValueError(
                f"{plan}.rollouts returns {len(rollouts)} for {len(requests)} requests: one for each, in order."
            )
        return rollouts

    def judge(self, rows: Sequence[Row], prompt_ids: Sequence[list[int]], rollouts: Sequence[Rollout]) -> Judged:
        """Read and grade rollouts, and with them their probes. What was given up is not graded."""
        traces = [read_trace(rollout.ids, self.delimiters) for rollout in rollouts]
        whole = [i for i, rollout in enumerate(rollouts) if rollout.stop_reason is not StopReason.ABORTED]
        probes = [read_trace(probe.ids, self.delimiters) for rollout in rollouts for probe in rollout.probes]
        probed = [i for i, rollout in enumerate(rollouts) for _ in rollout.probes]
        # In one call: the verifier's processes are then busy to the end.
        graded = grade(
            [*(traces[i] for i in whole), *probes], [rows[i] for i in (*whole, *probed)], self.tokenizer, self.verifier
        )
        verdicts: list[float | None] = [None] * len(rollouts)
        for i, verdict in zip(whole, graded, strict=False):
            verdicts[i] = verdict
        of_probes = iter([earned(*pair) for pair in zip(graded[len(whole) :], probes, strict=True)])
        known = [with_probe_shares(rollout, list(islice(of_probes, len(rollout.probes)))) for rollout in rollouts]
        facts = {fact.name: [rollout.facts[fact.name] for rollout in known] for fact in self.plan.facts}
        return Judged(list(rows), list(prompt_ids), known, traces, verdicts, facts)

    def judge_again(self, judged: Judged, kept: Sequence[int]) -> list[float | None]:
        """The verdicts on the first `kept` tokens of each rollout; only what was shortened is judged again."""
        cut = [i for i, trace in enumerate(judged.traces) if kept[i] < trace.length]
        traces = [read_trace(judged.rollouts[i].ids[: kept[i]], self.delimiters) for i in cut]
        verdicts = list(judged.verdicts)
        for i, verdict in zip(
            cut, grade(traces, [judged.rows[i] for i in cut], self.tokenizer, self.verifier), strict=True
        ):
            verdicts[i] = verdict
        return verdicts
