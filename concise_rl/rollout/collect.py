"""From rows to judged rollouts, on one rank."""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

from transformers import PreTrainedTokenizerBase

from concise_rl.reading.trace import Delimiters, StopReason, Trace, read_trace
from concise_rl.rollout.engine import Engine, Request, Sampling
from concise_rl.rollout.plans.plan import Plan, Rollout
from concise_rl.rollout.shortest import ShortestOnly
from concise_rl.verify.grade import grade
from concise_rl.verify.pool import VerifierPool

Row = dict[str, Any]


@dataclass(frozen=True)
class Judged:
    """Rollouts of a rank and what is known of them. The lists are aligned; the members of a group stand together.

    Attributes:
        rows: of the data set, one for each rollout.
        prompt_ids: tokens of their prompts.
        rollouts: what was sampled.
        traces: how it reads.
        verdicts: 1, 0, or None where it could not be judged or was given up.
        facts: what else is known of each, by name: a number, or a tuple of them.
    """

    rows: list[Row]
    prompt_ids: list[list[int]]
    rollouts: list[Rollout]
    traces: list[Trace]
    verdicts: list[float | None]
    facts: dict[str, list[Any]] = field(default_factory=dict)

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
        rule: ShortestOnly | None = None,
    ) -> list[Rollout]:
        """One rollout for each prompt."""
        requests = [Request(ids, max_tokens, seed) for ids, seed in zip(prompt_ids, seeds, strict=True)]
        return self.plan.rollouts(self.engine, requests, self.sampling, rule=rule)

    def judge(self, rows: Sequence[Row], prompt_ids: Sequence[list[int]], rollouts: Sequence[Rollout]) -> Judged:
        """Read and judge rollouts. What was given up is not judged."""
        traces = [read_trace(rollout.ids, self.delimiters) for rollout in rollouts]
        whole = [i for i, rollout in enumerate(rollouts) if rollout.stop_reason is not StopReason.ABORTED]
        verdicts: list[float | None] = [None] * len(rollouts)
        of_whole = grade([traces[i] for i in whole], [rows[i] for i in whole], self.tokenizer, self.verifier)
        for i, verdict in zip(whole, of_whole, strict=True):
            verdicts[i] = verdict
        return Judged(list(rows), list(prompt_ids), list(rollouts), traces, verdicts)

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
