"""Fills the batch of a step with groups that its curriculum wants: others are exchanged for freshly drawn ones.

Axis letters: R ranks, K kinds of groups.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from accelerate import Accelerator
from datasets import Dataset
from transformers import TrainerCallback

from concise_rl.curriculum.curricula import Curriculum
from concise_rl.curriculum.kinds import GroupKind
from concise_rl.curriculum.memory import CurriculumMemory, OversampleFactor
from concise_rl.reading.trace import StopReason
from concise_rl.rollout.collect import Judged, Row
from concise_rl.rollout.engine import derive_seed

Sample = Callable[[list[Row], int], Judged]
"""Rollouts of rows that stand in whole groups; the number is the round."""
Kinds = Callable[[Judged], list[GroupKind]]
"""What each group is, by raw verdicts on what the objective keeps."""
C = TypeVar("C", bound=TrainerCallback)


def find_callback(callbacks: Iterable[TrainerCallback], cls: type[C]) -> C:
    """The one callback of a class."""
    (found,) = (callback for callback in callbacks if isinstance(callback, cls))
    return found


def allocate_easy(mixed_R: Sequence[int], easy_R: Sequence[int], wanted: int, quota: int) -> list[int]:
    """How many groups that are right throughout each rank trains on. Every rank comes to the same result.

    Such groups go first where mixed ones do not fill a rank's batch. Where that leaves more of the quota, they take the
    place of mixed ones, until their share of the batch is, rounded, their share of all groups that could be used.

    Args:
        mixed_R, easy_R: groups that each rank has sampled.
        wanted: groups that each rank trains on.
        quota: of those right throughout, on all ranks.
    """
    quota, taken_R = min(quota, sum(easy_R)), [0] * len(easy_R)
    share = quota / max(sum(mixed_R) + quota, 1)
    while sum(taken_R) < quota:
        open_R = [max(0, wanted - mixed - taken) for mixed, taken in zip(mixed_R, taken_R, strict=True)]
        able = [rank for rank, taken in enumerate(taken_R) if taken < min(easy_R[rank], wanted)]
        rank = min(able, key=lambda rank: (-open_R[rank], taken_R[rank], rank), default=None)
        filled = wanted * len(open_R) - sum(open_R)
        if rank is None or (open_R[rank] == 0 and sum(taken_R) >= math.floor(filled * share + 0.5)):
            break
        taken_R[rank] += 1
    return taken_R


@dataclass(frozen=True)
class Decision:
    """What all ranks train on.

    Attributes:
        wanted: groups for each rank.
        sampled_RK: groups that each rank has sampled, by kind.
        quota: of those right throughout, how many could be used.
        easy_R: how many of them are.
    """

    wanted: int
    sampled_RK: np.ndarray
    quota: int
    easy_R: list[int]

    @property
    def real_R(self) -> list[int]:
        """Groups that each rank trains on."""
        mixed_R = self.sampled_RK[:, GroupKind.MIXED].tolist()
        return [easy + min(mixed, self.wanted - easy) for mixed, easy in zip(mixed_R, self.easy_R, strict=True)]

    @property
    def missing_R(self) -> list[int]:
        """Groups that each rank lacks."""
        return [self.wanted - real for real in self.real_R]

    def of_kind(self, kind: GroupKind) -> int:
        """Groups of a kind that were sampled."""
        return int(self.sampled_RK[:, kind].sum())

    @property
    def sampled(self) -> int:
        """Groups that were sampled."""
        return int(self.sampled_RK.sum())

    @property
    def usable(self) -> int:
        """Groups that could be trained on, whether there was room for them or not."""
        return self.of_kind(GroupKind.MIXED) + self.quota

    @property
    def easy_share(self) -> float:
        """Share of the sampled groups that were right throughout."""
        return self.of_kind(GroupKind.ALL_CORRECT) / self.sampled

    def metrics(self) -> dict[str, float]:
        """What to log."""
        return {
            "curriculum/groups_sampled": float(self.sampled),
            "curriculum/groups_usable": float(self.usable),
            "curriculum/filled": sum(self.real_R) / (self.wanted * len(self.easy_R)),
            "curriculum/easy_share": self.easy_share,
            "curriculum/all_wrong": self.of_kind(GroupKind.ALL_WRONG) / self.sampled,
            "curriculum/easy_trained": sum(self.easy_R) / max(sum(self.real_R), 1),
        }

    def demand_a_group(self, rounds: int) -> None:
        """
        Raises:
            ValueError: when there is nothing to train on.
        """
        if any(self.real_R):
            return
        wrong, right = self.of_kind(GroupKind.ALL_WRONG), self.of_kind(GroupKind.ALL_CORRECT)
        raise ValueError(
            f"The curriculum can use none of the {self.sampled} groups that were sampled in {rounds} round(s): "
            f"{wrong} have a pass rate of 0, {right} of 1, and {self.of_kind(GroupKind.UNJUDGED)} no verdict. Choose "
            f"{'easier' if wrong >= right else 'harder'} problems, a larger num_generations, or more rounds "
            "(curriculum_options.rounds)."
        )


def decide(counts_NRK: np.ndarray, wanted: int, easy_quota: Callable[[list[tuple[int, int]]], int]) -> Decision:
    """What to train on.

    Args:
        counts_NRK: groups sampled in each round N.
        wanted: groups for each rank.
        easy_quota: from the numbers of mixed groups and of those right throughout, in each round, to how many of the
            latter could be used.
    """
    mixed_NR, easy_NR = counts_NRK[..., GroupKind.MIXED], counts_NRK[..., GroupKind.ALL_CORRECT]
    in_rounds = list(zip(mixed_NR.sum(axis=1).tolist(), easy_NR.sum(axis=1).tolist(), strict=True))
    quota = min(easy_quota(in_rounds), int(easy_NR.sum()))
    easy_R = allocate_easy(mixed_NR.sum(axis=0).tolist(), easy_NR.sum(axis=0).tolist(), wanted, quota)
    return Decision(wanted, counts_NRK.sum(axis=0), quota, easy_R)


def choose(kinds: Sequence[GroupKind], real: int, easy: int, wanted: int) -> list[int]:
    """Which of a rank's groups make its batch: `real` to train on, `easy` of them right throughout, then fillers. Each
    in the order in which they were sampled."""
    right = [group for group, kind in enumerate(kinds) if kind is GroupKind.ALL_CORRECT][:easy]
    mixed = [group for group, kind in enumerate(kinds) if kind is GroupKind.MIXED][: real - easy]
    chosen = sorted(right + mixed)
    others = [group for group in range(len(kinds)) if group not in set(chosen)]
    return chosen + others[: wanted - real]


@dataclass(frozen=True)
class Filled:
    """A rank's batch.

    Attributes:
        judged: as many rollouts as were asked for; the groups to train on come first.
        filler: for each rollout whether it only fills the batch up, and must add neither gradient nor normaliser.
        easy_share: of all groups that all ranks sampled, the share right throughout.
        metrics: to log.
    """

    judged: Judged
    filler: list[bool]
    easy_share: float
    metrics: dict[str, float]


class Filling:
    """Samples until there are as many groups as wanted that a curriculum can use, or its rounds are over.

    Each rank fills its own share, from what it sampled itself: the groups it was given, and as many more as DOT's
    factor says, drawn at random from the training set. Which are drawn depends on the seed, the step and the rank
    alone, so that a resumed run draws the same. Which are trained on is decided on the counts of all ranks, on each
    alike.
    """

    def __init__(
        self,
        curriculum: Curriculum,
        dataset: Dataset,
        num_generations: int,
        accelerator: Accelerator,
        seed: int,
        callbacks: Callable[[], Iterable[TrainerCallback]],
    ) -> None:
        """
        Args:
            curriculum: says which groups can be used.
            dataset: what fresh groups are drawn from.
            num_generations: G.
            accelerator: of the run.
            seed: of the run.
            callbacks: the trainer's, as they are at the time: a resumed run puts others in their place. Among them are
                those of `fresh_callbacks`, which learn how it went.
        """
        self.curriculum, self.dataset, self.num_generations = curriculum, dataset, num_generations
        self.accelerator, self.seed, self._callbacks = accelerator, seed, callbacks

    def fresh_callbacks(self) -> list[TrainerCallback]:
        """Make what a trainer takes among its callbacks, so that its checkpoints hold what is learnt here."""
        return [OversampleFactor(), CurriculumMemory(self.curriculum.initial())]

    def collect(self, rows: Sequence[Row], sample: Sample, kinds: Kinds, step: Sequence[int]) -> Filled:
        """As many groups as `rows` holds: those that the curriculum can use, then fillers. All ranks call it at once.

        Args:
            rows: whole groups, as many on each rank.
            sample, kinds: what groups are made with, and told apart by.
            step: what tells this batch from the others of the run. It begins with the optimizer steps done so far.

        Raises:
            ValueError: when no rank has a group to train on after all rounds.
        """
        wanted, values = len(rows) // self.num_generations, self._values()
        factor = find_callback(self._callbacks(), OversampleFactor)
        rank, judged, of_judged, counts = self.accelerator.process_index, Judged([], [], [], [], []), [], []
        asked = [*rows, *self._draw(math.ceil(wanted * (factor.factor - 1)), (*step, 0))]
        for turn in range(self.curriculum.rounds):
            fresh = sample(asked, turn)
            # A rank that has all its groups only keeps the others company.
            of_fresh = kinds(fresh) if fresh.rows else []
            judged, of_judged = judged + fresh, of_judged + of_fresh
            counts.append(self._counts(of_fresh))
            decision = decide(np.stack(counts), wanted, lambda easy: self.curriculum.easy_quota(easy, values, step[0]))
            if not any(decision.missing_R):
                break
            asked = self._draw(math.ceil(decision.missing_R[rank] * factor.factor), (*step, turn + 1))
        decision.demand_a_group(len(counts))
        factor.update(decision.sampled, decision.usable)
        real = decision.real_R[rank]
        return Filled(
            judged.take(self._rows_of(choose(of_judged, real, decision.easy_R[rank], wanted))),
            [row >= real * self.num_generations for row in range(len(rows))],
            decision.easy_share,
            decision.metrics() | self._of_sampled(judged) | {"curriculum/factor": factor.factor},
        )

    def observe(self, ratios: Sequence[float], easy_share: float) -> dict[str, float]:
        """Let the curriculum learn from a batch. Once for each, with the same on every rank; see `Curriculum.observe`.

        Returns:
            What it knows now, to log.
        """
        values = self.curriculum.observe(self._values(), ratios, easy_share)
        find_callback(self._callbacks(), CurriculumMemory).values = values
        return {f"curriculum/{name}": value for name, value in values.items()}

    def _values(self) -> dict[str, float]:
        """What the curriculum knows. A run resumed under another one begins with what that knows at first."""
        remembered = find_callback(self._callbacks(), CurriculumMemory).values
        return {name: remembered.get(name, value) for name, value in self.curriculum.initial().items()}

    def _draw(self, num_groups: int, parts: Sequence[int]) -> list[Row]:
        """Rows of as many problems, each repeated for its group."""
        rng = np.random.default_rng(derive_seed(self.seed, self.accelerator.process_index, *parts))
        chosen = rng.choice(len(self.dataset), size=num_groups, replace=num_groups > len(self.dataset))
        return [self.dataset[int(i)] for i in chosen for _ in range(self.num_generations)]

    def _of_sampled(self, judged: Judged) -> dict[str, float]:
        """Accuracy and cut rollouts of all that was sampled on all ranks: those of the batch depend on the choice."""
        known = [verdict for verdict in judged.earned if verdict is not None]
        plain = [
            not trace.finished
            for trace, rollout in zip(judged.traces, judged.rollouts, strict=True)
            if rollout.stop_reason not in (StopReason.ABORTED, StopReason.FORCED_EXIT)
        ]
        # Of one type on all ranks: the sum of no verdicts would be whole.
        counts = [[sum(known), len(known), sum(plain), len(plain)]]
        mine = torch.tensor(counts, dtype=torch.float32, device=self.accelerator.device)
        right, of_judged, cut, of_plain = self.accelerator.gather(mine).sum(dim=0).tolist()
        return {
            "curriculum/sampled_correct": right / of_judged if of_judged else math.nan,
            "curriculum/sampled_cut": cut / of_plain if of_plain else math.nan,
        }

    def _rows_of(self, groups: Sequence[int]) -> list[int]:
        return [group * self.num_generations + member for group in groups for member in range(self.num_generations)]

    def _counts(self, kinds: Sequence[GroupKind]) -> np.ndarray:
        """(R, K) groups of each kind on each rank."""
        mine_K = torch.tensor([[kinds.count(kind) for kind in GroupKind]], device=self.accelerator.device)
        return self.accelerator.gather(mine_K).cpu().numpy()
