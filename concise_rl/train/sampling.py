"""Sampling: from the rows of a step to this rank's judged rollouts. All of a rollout's way before its credit."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from concise_rl.curriculum.filling import Filled, Filling, Kinds
from concise_rl.methods import UNWRITTEN, Objective, Parts
from concise_rl.methods.parts import prompt_rng
from concise_rl.rollout.collect import Collector, Judged, Row
from concise_rl.rollout.engine import derive_seed
from concise_rl.rollout.shortest import ShortestOnly
from concise_rl.train.clock import Clock
from concise_rl.train.gather import Moment, World, demand_declared

Tokenize = Callable[[Sequence[Row]], list[list[int]]]
"""From rows to the tokens of their prompts."""


class Sampler:
    """Writes prompts, samples, grades, and exchanges groups where a curriculum asks for others."""

    def __init__(
        self,
        collector: Collector,
        method: Objective,
        parts: Parts,
        tokenize: Tokenize,
        seed: int,
        world: World,
        clock: Clock,
        filling: Filling | None = None,
    ) -> None:
        self.collector, self.method, self.parts, self.filling = collector, method, parts, filling
        self.tokenize, self.seed, self.world, self.clock = tokenize, seed, world, clock
        self.plainly = replace(collector, plan=collector.plan.evaluated)

    def batch(self, rows: list[Row], filler: list[bool], kinds: Kinds, now: Moment) -> Filled:
        """Make this rank's rollouts of a batch. All ranks call it at once.

        Args:
            rows: in groups.
            filler: which of them merely fill the batch, where nothing exchanges groups.
            kinds: tells groups apart for the curriculum.
            now: where the run stands.
        """
        if self.filling is None or not now.training:
            return Filled(self.sample(rows, now, now.name), filler, float("nan"), {})
        rank = self.world.rank  # ranks may draw different numbers of rows

        def sample(more: list[Row], turn: int) -> Judged:
            return self.sample(more, now, (*now.name, turn, rank))

        return self.filling.collect(rows, sample, kinds, now.name)

    def sample(self, rows: list[Row], now: Moment, name: Sequence[int]) -> Judged:
        """Sample and grade rows that stand in groups; `name` tells the call from all others of the run."""
        first = self.world.rank * len(rows)
        rows, written = self._write_prompts(rows, first, now, name)
        seeds = [derive_seed(self.seed, *name, first + i) for i in range(len(rows))]
        keep = self.method.keep_shortest(now.group_size) if now.training else None
        give_up = ShortestOnly(keep, lambda row: (first + row) // now.group_size) if keep else None
        collector = self.collector if now.training else self.plainly
        prompt_ids = self.tokenize(rows) if rows else []
        with self.clock.timed("rollout"):
            rollouts = collector.sample(prompt_ids, now.cap, seeds, give_up)
        with self.clock.timed("verify"):
            return collector.judge(rows, prompt_ids, rollouts).knowing(**written)

    def _write_prompts(
        self, rows: list[Row], first: int, now: Moment, name: Sequence[int]
    ) -> tuple[list[Row], dict[str, list]]:
        """Let the method write into the prompts, alike for the members of a group. Also the facts of what it wrote."""
        writer = self.parts.prompts
        if writer is None:
            return rows, {}
        groups = [(first + i) // now.group_size for i in range(len(rows))]
        of_group = {
            group: writer.write(row, prompt_rng(self.seed, *name, group))
            for group, row in dict(zip(groups, rows, strict=True)).items()
        }
        for _, known in of_group.values():
            demand_declared(type(writer).__name__, writer.facts, known)
        written = [of_group[group] for group in groups]
        facts = {fact.name: [known[fact.name] for _, known in written] for fact in writer.facts}
        return [new | {UNWRITTEN: row["prompt"]} for row, (new, _) in zip(rows, written, strict=True)], facts
