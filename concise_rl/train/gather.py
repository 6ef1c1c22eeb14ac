"""Judged rollouts of each rank as tensors, gathered over all ranks, and as the batch that a method reads."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from concise_rl.methods import Fact, Memory, RolloutBatch
from concise_rl.rollout.collect import Judged
from concise_rl.rollout.plans.plan import Rollout

NAN = float("nan")

OF_EVERY_BATCH = (
    Fact("correct"),
    Fact("length", dtype=torch.int64),
    Fact("think_length", dtype=torch.int64),
    Fact("closed", dtype=torch.int64),
    Fact("finished", dtype=torch.int64),
    Fact("stop_reason", dtype=torch.int64),
    Fact("filler", dtype=torch.int64),
)
"""Facts that every batch has, whatever the method."""


@dataclass(frozen=True)
class World:
    """What a rank has to know of the others.

    Attributes:
        rank: its own place among them.
        gather: (B_rank, C) of each rank to (B, C) on all, in the order of ranks.
        device: on which tensors are gathered.
    """

    rank: int
    gather: Callable[[Tensor], Tensor]
    device: Any

    def mine(self, values_B: Any, rows: int) -> Any:
        """Return this rank's share of something that all ranks have, of which each has so many rows."""
        return values_B[self.rank * rows : (self.rank + 1) * rows]

    def alone(self) -> "World":
        """Return the world of a rank that speaks for itself."""
        return World(0, lambda values: values, self.device)


@dataclass(frozen=True)
class Moment:
    """Where a run stands when it makes a batch.

    Attributes:
        step: optimizer steps done so far.
        training: whether the batch is trained on, or evaluates.
        number: of this batch among those of the same step.
        group_size: G of this batch.
        cap: on completion tokens.
        memory: what the method knows of the run.
    """

    step: int
    training: bool
    number: int
    group_size: int
    cap: int
    memory: Memory

    @property
    def name(self) -> tuple[int, ...]:
        """Tell this batch from all others of the run, also from those of a run that it resumes."""
        return (self.step, int(self.training), self.number)


def values_of(judged: Judged, filler: Sequence[bool]) -> dict[str, Sequence[Any]]:
    """Return the facts of a rank's rollouts by name: those of every batch, and those that its parts have added."""
    traces, verdicts = judged.traces, judged.verdicts
    return {
        **judged.facts,
        "correct": [NAN if verdict is None else verdict for verdict in verdicts],
        "length": [trace.length for trace in traces],
        "think_length": [trace.think_length for trace in traces],
        "closed": [trace.answer_ids is not None for trace in traces],
        "finished": [trace.finished for trace in traces],
        "stop_reason": [rollout.stop_reason for rollout in judged.rollouts],
        "filler": filler,
    }


def demand_declared(who: str, declared: Sequence[Fact], known: Collection[str], before: Collection[str] = ()) -> None:
    """Hold somebody to the facts that they declare.

    Args:
        who: adds facts.
        declared: what they say that they add.
        known: names of the facts that there are now.
        before: names of the facts that there were.

    Raises:
        ValueError: when a fact that is declared is not there, or one was added that is not declared.
    """
    names = {fact.name for fact in declared}
    if not names <= set(known) or set(known) - set(before) - names:
        added = sorted(set(known) - set(before))
        raise ValueError(f"{who} declares the facts {sorted(names)} and adds {added}: these have to be the same.")


def gather_facts(facts: Sequence[Fact], values: Mapping[str, Sequence[Any]], world: World) -> dict[str, Tensor]:
    """Gather what is declared over all ranks, in one call for each type of number, so that every number stays exact.

    Returns:
        (B,) or (B, width) on the CPU, where all methods have float64.
    """
    gathered: dict[str, Tensor] = {}
    for dtype in dict.fromkeys(fact.dtype for fact in facts):
        same = [fact for fact in facts if fact.dtype == dtype]
        mine_BC = torch.cat([fact.columns(values[fact.name], world.device) for fact in same], dim=1)
        parts = world.gather(mine_BC).cpu().split([fact.width for fact in same], dim=1)
        of_type = {fact.name: part if fact.width > 1 else part[:, 0] for fact, part in zip(same, parts, strict=True)}
        gathered |= {name: part.clone() for name, part in of_type.items()}
    return gathered


def to_batch(
    judged: Judged, filler: Sequence[bool], facts: Sequence[Fact], now: Moment, world: World
) -> tuple[RolloutBatch, Tensor]:
    """Gather the rollouts of all ranks.

    Args:
        judged, filler: of this rank: rollouts, and which of them merely fill the batch.
        facts: that the method's parts declare.
        now: where the run stands.
        world: the ranks.

    Returns:
        The batch, and (B,) which rollouts merely fill it.
    """
    found = gather_facts((*OF_EVERY_BATCH, *facts), values_of(judged, filler), world)
    batch = RolloutBatch(
        correct=found["correct"],
        length=found["length"],
        think_length=found["think_length"],
        closed=found["closed"].bool(),
        finished=found["finished"].bool(),
        stop_reason=found["stop_reason"],
        num_generations=now.group_size,
        max_length=now.cap,
        step=now.step,
        facts={fact.name: found[fact.name] for fact in facts},
        memory=now.memory,
    )
    return batch, found["filler"].bool()


def fit_width(advantages_BT: Tensor, width: int) -> Tensor:
    """Crop, or pad with 0, to this rank's completion width: ranks pad their completions each for itself."""
    extra = width - advantages_BT.size(1)
    return nn.functional.pad(advantages_BT, (0, extra)) if extra > 0 else advantages_BT[:, :width]


def loss_mask(rollout: Rollout, kept: int) -> list[int]:
    """Return for each token 1 if the loss reads it: those that the plan trains on, among the first `kept`."""
    trained = rollout.trained or [True] * len(rollout.ids)
    return [int(i < kept and is_trained) for i, is_trained in enumerate(trained)]
