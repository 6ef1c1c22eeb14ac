"""Credit: from judged rollouts of each rank to what every rollout, or each of its tokens, is worth."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from concise_rl.curriculum.kinds import GroupKind, group_kinds
from concise_rl.methods import Fact, Objective, Parts, RolloutBatch, Stage, StopReason, Tools
from concise_rl.rollout.collect import Collector, Judged
from concise_rl.train.clock import Clock
from concise_rl.train.gather import NAN, Moment, World, demand_declared, gather_facts, to_batch

KEPT_CORRECT = Fact("kept_correct")
"""The verdicts on what a method keeps, where it judges again."""


@dataclass(frozen=True)
class Credited:
    """A batch on its way into the loss.

    Attributes:
        sampled: this rank's rollouts as they were sampled.
        judged: the same as they are trained on, after all stages.
        batch: all ranks' rollouts.
        kept_B: (B,) tokens of each that stay in the loss.
        real_B: (B,) which do not merely fill the batch.
        advantages: (B,) or (B, T).
    """

    sampled: Judged
    judged: Judged
    batch: RolloutBatch
    kept_B: Tensor
    real_B: Tensor
    advantages: Tensor

    @property
    def real(self) -> RolloutBatch:
        """The batch without what merely fills it."""
        return self.batch.rows(self.real_B)


class Creditor:
    """Runs the stages, gathers the rollouts, and asks the method what they are worth. Knows no trainer."""

    def __init__(
        self,
        method: Objective,
        parts: Parts,
        stages: Sequence[Stage],
        tools: Tools,
        collector: Collector,
        world: World,
        clock: Clock,
    ) -> None:
        """
        Args:
            method: says what rollouts are worth.
            parts: that it brings along.
            stages: its own, and those that the run adds.
            tools: that stages use.
            collector: judges again.
            world: the ranks.
            clock: counts seconds.
        """
        self.method, self.parts, self.stages, self.tools = method, parts, stages, tools
        self.collector, self.world, self.clock = collector, world, clock
        of_run = replace(parts, stages=tuple(stages))
        self.facts = {True: of_run.facts, False: replace(of_run, plan=parts.plan.evaluated).facts}

    def credit(self, sampled: Judged, filler: Sequence[bool], now: Moment) -> Credited:
        """Say what the rollouts of all ranks are worth.

        Raises:
            RuntimeError: when the method's advantages are not finite.
            ValueError: when they are of another shape than its `credit` says, or a stage adds facts that it does not
                declare.
        """
        judged = self._staged(sampled) if self.stages else sampled
        batch, kept_B, real_B = self._settle(judged, filler, now, self.facts[now.training], self.world)
        of_real = self._advantages(batch.rows(real_B))
        if not torch.isfinite(of_real).all():
            raise RuntimeError(f"Method {type(self.method).__name__} gave advantages that are not finite.")
        advantages = of_real.new_zeros(len(real_B), *of_real.shape[1:])
        advantages[real_B] = of_real
        return Credited(sampled, judged, batch, kept_B, real_B, advantages)

    def _advantages(self, batch: RolloutBatch) -> Tensor:
        advantages, name = self.method.advantages(batch), type(self.method).__name__
        by_token = self.method.credit.by_token
        if advantages.ndim != 1 + by_token or len(advantages) != len(batch.correct):
            wanted = f"({len(batch.correct)}, T)" if by_token else f"({len(batch.correct)},)"
            raise ValueError(
                f"{name}.advantages has the shape {tuple(advantages.shape)}, but its credit says by_token={by_token}, "
                f"which is {wanted}."
            )
        return advantages

    def _staged(self, judged: Judged) -> Judged:
        with self.clock.timed("label"):
            for stage in self.stages:
                before = judged.facts
                judged = stage(judged, self.tools)
                demand_declared(type(stage).__name__, stage.facts, judged.facts, before)
        return judged

    def kinds(self, judged: Judged, now: Moment) -> list[GroupKind]:
        """Say what each of this rank's groups is, by raw verdicts on what the method keeps."""
        facts = [fact for fact in self.facts[now.training] if fact.name in judged.facts]  # stages have not run yet
        no_filler = [False] * len(judged.rows)
        batch, kept_B, _ = self._settle(judged, no_filler, now, facts, self.world.alone())
        verdict_B = batch.kept_correct
        if not self.method.credit.unfinished:
            verdict_B = torch.where(batch.finished, verdict_B, torch.zeros_like(verdict_B))
        return group_kinds(batch.grouped(verdict_B.masked_fill(kept_B == 0, NAN)))

    def _settle(
        self, judged: Judged, filler: Sequence[bool], now: Moment, facts: Sequence[Fact], world: World
    ) -> tuple[RolloutBatch, Tensor, Tensor]:
        """Return the batch, how many tokens of each rollout stay in the loss, and which do not merely fill it."""
        batch, filler_B = to_batch(judged, filler, facts, now, world)
        dropped_B = filler_B | (batch.stop_reason == StopReason.ABORTED)
        kept_B = self.method.kept_length(batch).masked_fill(dropped_B, 0)
        if self.parts.rejudge:
            batch = self._judged_again(judged, batch, kept_B, world)
        return batch, kept_B, ~filler_B

    def _judged_again(self, judged: Judged, batch: RolloutBatch, kept_B: Tensor, world: World) -> RolloutBatch:
        """Return the batch with the verdicts on what is kept."""
        with self.clock.timed("verify"):
            verdicts = self.collector.judge_again(judged, world.mine(kept_B, len(judged.rows)).tolist())
        kept = {KEPT_CORRECT.name: [NAN if verdict is None else verdict for verdict in verdicts]}
        return replace(batch, facts={**batch.facts, **gather_facts([KEPT_CORRECT], kept, world)})
