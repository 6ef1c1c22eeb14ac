"""Credit without a trainer: one rank, or two that gather by hand."""

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

from concise_rl.curriculum.kinds import GroupKind
from concise_rl.methods import (
    Credit,
    Fact,
    Judged,
    Objective,
    Parts,
    Rollout,
    RolloutBatch,
    RunContext,
    StopReason,
    Tools,
)
from concise_rl.reading.trace import Delimiters, read_trace
from concise_rl.train.clock import Clock
from concise_rl.train.credit import Creditor
from concise_rl.train.gather import Moment, World

CLOSE, EOS = 7, 0
DELIMITERS = Delimiters((CLOSE,), frozenset({EOS}))
NOBODY: Any = None


class Verdict(Objective):
    """Pays the verdict."""

    paper: ClassVar[str] = "none"

    def advantages(self, batch: RolloutBatch) -> Tensor:
        return batch.earned.nan_to_num(nan=0.0)


class HalfKept(Verdict):
    """Keeps half of each rollout, and judges that."""

    def parts(self, run: RunContext) -> Parts:
        return Parts(rejudge=True)

    def kept_length(self, batch: RolloutBatch) -> Tensor:
        return batch.length // 2

    def advantages(self, batch: RolloutBatch) -> Tensor:
        return batch.kept_correct


class Broken(Verdict):
    """Gives something that is no number."""

    def advantages(self, batch: RolloutBatch) -> Tensor:
        return batch.correct * torch.nan


@dataclass
class Judges:
    """Finds everything that was cut wrong."""

    def judge_again(self, judged: Judged, kept: list[int]) -> list[float | None]:
        return [
            0.0 if n < trace.length else v for n, trace, v in zip(kept, judged.traces, judged.verdicts, strict=True)
        ]


def judged(*verdicts: float | None, ids: tuple[int, ...] = (1, 2, CLOSE, 9, EOS)) -> Judged:
    rollouts = [Rollout(list(ids), StopReason.EOS, len(ids)) for _ in verdicts]
    traces = [read_trace(rollout.ids, DELIMITERS) for rollout in rollouts]
    return Judged([{} for _ in verdicts], [[5]] * len(verdicts), rollouts, traces, list(verdicts))


def creditor(method: Objective, world: World | None = None, *stages: Any) -> Creditor:
    parts, alone = method.parts(RunContext.sketch()), World(0, lambda values: values, "cpu")
    judges: Any = Judges()
    return Creditor(method, parts, stages or parts.stages, Tools(DELIMITERS, NOBODY), judges, world or alone, Clock())


def now(group_size: int = 2) -> Moment:
    return Moment(0, True, 0, group_size, 16, {})


def test_a_rollout_that_fills_the_batch_is_worth_nothing_and_stays_out_of_the_loss() -> None:
    credited = creditor(Verdict()).credit(judged(1.0, 0.0, 1.0, 1.0), [False, False, True, True], now())
    assert credited.advantages.tolist() == [1, 0, 0, 0] and credited.kept_B.tolist() == [5, 5, 0, 0]
    assert len(credited.real.correct) == 2


def test_a_rollout_that_was_given_up_stays_out_of_the_loss() -> None:
    sampled = judged(None, 1.0)
    sampled.rollouts[0] = replace(sampled.rollouts[0], stop_reason=StopReason.ABORTED)
    assert creditor(Verdict()).credit(sampled, [False] * 2, now()).kept_B.tolist() == [0, 5]


def test_verdicts_on_what_is_kept_stand_beside_those_on_the_whole() -> None:
    credited = creditor(HalfKept()).credit(judged(1.0, 1.0), [False] * 2, now())
    assert credited.batch.correct.tolist() == [1, 1] and credited.batch.kept_correct.tolist() == [0, 0]
    assert credited.kept_B.tolist() == [2, 2]


def test_groups_are_told_apart_by_the_verdicts_on_what_is_kept() -> None:
    assert creditor(Verdict()).kinds(judged(1.0, 0.0, 1.0, 1.0), now()) == [GroupKind.MIXED, GroupKind.ALL_CORRECT]
    assert creditor(HalfKept()).kinds(judged(1.0, 0.0, 1.0, 1.0), now()) == [GroupKind.ALL_WRONG] * 2


def test_advantages_that_are_not_finite_stop_the_run() -> None:
    with pytest.raises(RuntimeError, match="Method Broken gave advantages that are not finite"):
        creditor(Broken()).credit(judged(1.0, 0.0), [False] * 2, now())


def test_stages_run_in_their_order_and_their_facts_reach_the_batch() -> None:
    @dataclass(frozen=True)
    class Add:
        by: int
        facts: ClassVar[tuple[Fact, ...]] = (Fact("sum", dtype=torch.int64),)

        def __call__(self, judged: Judged, tools: Tools) -> Judged:
            return judged.knowing(sum=[10 * n + self.by for n in judged.facts.get("sum", [0] * len(judged.rows))])

    credited = creditor(Verdict(), None, Add(1), Add(2)).credit(judged(1.0, 0.0), [False] * 2, now())
    assert credited.batch.fact("sum").tolist() == [12, 12]
    assert not credited.sampled.facts, "the rollouts as sampled stay as they were"


def test_a_rank_credits_the_rollouts_of_all_ranks_alike() -> None:
    seen: list[Tensor] = []

    def gather(mine: Tensor) -> Tensor:
        seen.append(mine)
        return torch.cat([mine, mine])

    credited = creditor(Verdict(), World(1, gather, "cpu")).credit(judged(1.0, 0.0), [False] * 2, now())
    assert credited.advantages.tolist() == [1, 0, 1, 0] and len(seen) == 2


class Flat(Verdict):
    """Says that it credits tokens, and credits rollouts."""

    @property
    def credit(self) -> Credit:
        return Credit(by_token=True)


def test_advantages_of_another_shape_than_the_credit_says_are_refused() -> None:
    with pytest.raises(ValueError, match=r"Flat.advantages has the shape \(2,\), but its credit says by_token=True"):
        creditor(Flat()).credit(judged(1.0, 0.0), [False] * 2, now())


@dataclass(frozen=True)
class Painted:
    """A stage that adds what it does not declare."""

    facts: ClassVar[tuple[Fact, ...]] = ()

    def __call__(self, judged: Judged, tools: Tools) -> Judged:
        return judged.knowing(colour=[1] * len(judged.rows))


def test_a_stage_adds_the_facts_that_it_declares_and_no_others() -> None:
    with pytest.raises(ValueError, match=r"Painted declares the facts \[\] and adds \['colour'\]"):
        creditor(Verdict(), None, Painted()).credit(judged(1.0, 0.0), [False] * 2, now())
