"""What a curriculum's batch is made of: which groups are asked for, which are used, and which only fill it up."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from datasets import Dataset
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from transformers import AutoModelForCausalLM

from concise_rl.curriculum.curricula import Curriculum, DynamicSampling, Kappa, TwoStage
from concise_rl.curriculum.filling import Filled, Filling, allocate_easy, choose, find_callback
from concise_rl.curriculum.kinds import GroupKind
from concise_rl.curriculum.memory import CurriculumMemory, OversampleFactor
from concise_rl.models.resolve import resolve_model
from concise_rl.reading.trace import StopReason, Trace
from concise_rl.rollout.collect import Judged, Row
from concise_rl.rollout.plans.plan import Rollout
from tests.concise_rl.train.test_trainer import trainer_of

GROUP, WANTED = 2, 4
PROBLEMS = Dataset.from_list([{"prompt": str(i)} for i in range(100)])
MIXED, RIGHT, WRONG, UNJUDGED = GroupKind
SCRIPT = Path(__file__).with_name("filling_run.py")


class Asked:
    """What was sampled, round by round; every rollout is alike."""

    def __init__(self) -> None:
        self.rounds: list[list[str]] = []

    def sample(self, rows: list[Row], turn: int) -> Judged:
        assert turn == len(self.rounds)
        self.rounds.append([row["prompt"] for row in rows])
        rollout, trace = Rollout([1], StopReason.EOS, 1), Trace(1, 0, (1,), True)
        return Judged(list(rows), [[1]] * len(rows), [rollout] * len(rows), [trace] * len(rows), [1.0] * len(rows))


class Run:
    """A run of one process, whose groups are what `kind` says of their prompts."""

    def __init__(
        self,
        kind: Callable[[str], GroupKind],
        curriculum: Curriculum | None = None,
        seed: int = 0,
        initial: float = 1.5,
    ) -> None:
        self.kind, self.rounds = kind, []
        self.filling = Filling(
            curriculum or DynamicSampling(), PROBLEMS, GROUP, Accelerator(cpu=True), seed, lambda: self.callbacks
        )
        self.callbacks = self.filling.fresh_callbacks()
        find_callback(self.callbacks, OversampleFactor).initial = initial

    def step(self, number: int = 0) -> Filled:
        """One batch of four groups."""
        asked, rows = Asked(), [{"prompt": f"given {i}"} for i in range(WANTED) for _ in range(GROUP)]
        self.rounds = asked.rounds
        return self.filling.collect(rows, asked.sample, self.kinds, (number, 1, 0))

    def kinds(self, judged: Judged) -> list[GroupKind]:
        return [self.kind(row["prompt"]) for row in judged.rows[::GROUP]]

    @property
    def factor(self) -> OversampleFactor:
        return find_callback(self.callbacks, OversampleFactor)


def prompts_of(filled: Filled, filler: bool = False) -> list[str]:
    """Of the groups trained on, or of the fillers. Every group is whole."""
    assert len(filled.judged.rows) == len(filled.filler) == WANTED * GROUP
    assert filled.filler[::GROUP] == filled.filler[1::GROUP]
    rows = [row["prompt"] for row, fills in zip(filled.judged.rows, filled.filler, strict=True) if fills is filler]
    assert rows[::GROUP] == rows[1::GROUP]
    return rows[::GROUP]


def test_one_round_of_as_many_groups_as_predicted_suffices_where_all_can_be_used() -> None:
    run = Run(lambda prompt: MIXED)
    filled = run.step()
    assert prompts_of(filled) == [f"given {i}" for i in range(4)] and not any(filled.filler)
    assert [len(asked) for asked in run.rounds] == [6 * GROUP]
    assert (filled.metrics["curriculum/groups_sampled"], filled.metrics["curriculum/groups_usable"]) == (6, 6)
    assert run.factor.factor == run.factor.min_factor, "it has learnt that all can"


@pytest.mark.parametrize("kind", [RIGHT, WRONG, UNJUDGED])
def test_groups_that_cannot_be_used_are_exchanged_for_drawn_ones(kind: GroupKind) -> None:
    filled = Run(lambda prompt: kind if prompt.startswith("given") else MIXED).step()
    assert len(prompts_of(filled)) == 4 and not any(prompt.startswith("given") for prompt in prompts_of(filled))
    assert filled.metrics["curriculum/filled"] == 1


def test_it_goes_on_until_every_group_can_be_used() -> None:
    run = Run(lambda prompt: MIXED if prompt.isdigit() and int(prompt) % 3 == 0 else WRONG)
    filled = run.step()
    assert len(run.rounds) > 1 and filled.metrics["curriculum/filled"] == 1 and not any(filled.filler)


def test_accuracy_and_cut_rollouts_of_all_that_was_sampled_are_told() -> None:
    run = Run(lambda prompt: MIXED if prompt.startswith("given") else WRONG, initial=2.0)
    metrics = run.step().metrics
    assert (metrics["curriculum/sampled_correct"], metrics["curriculum/sampled_cut"]) == (1, 0), "Asked: right, ended"
    assert metrics["curriculum/all_wrong"] == 0.5


@pytest.mark.parametrize("rounds", [1, 3])
def test_what_is_missing_after_the_rounds_is_filled_up_and_marked(rounds: int) -> None:
    run = Run(lambda prompt: MIXED if prompt == "given 2" else WRONG, DynamicSampling(rounds=rounds))
    filled = run.step()
    assert len(run.rounds) == rounds
    assert prompts_of(filled) == ["given 2"] and prompts_of(filled, filler=True) == ["given 0", "given 1", "given 3"]
    assert filled.metrics["curriculum/filled"] == 0.25 and run.factor.factor == run.factor.max_factor


@pytest.mark.parametrize(
    ("kind", "advice"),
    [(WRONG, "4 have a pass rate of 0, 0 of 1, and 0 no verdict. Choose easier"), (RIGHT, "0 have.*4 of 1.*harder")],
)
def test_a_step_without_a_single_group_to_train_on_fails_and_says_what_there_was(kind: GroupKind, advice: str) -> None:
    with pytest.raises(ValueError, match=f"none of the 4 groups that were sampled in 1 round.*{advice}"):
        Run(lambda prompt: kind, DynamicSampling(rounds=1), initial=1.0).step()


def test_what_is_drawn_depends_on_seed_and_step_alone() -> None:
    asked = []
    for step, seed in ((3, 0), (3, 0), (4, 0), (3, 1)):
        run = Run(lambda prompt: MIXED if prompt == "given 0" else WRONG, seed=seed)
        run.step(step)
        asked.append(run.rounds)
    first, again, later, other = asked
    assert len(first) == 4 and first == again and first != later and first != other


def test_a_group_is_not_drawn_twice_in_a_round() -> None:
    run = Run(lambda _: MIXED, initial=5.0)
    run.step()
    drawn = run.rounds[0][WANTED * GROUP :: GROUP]
    assert len(set(drawn)) == len(drawn) == 16


def test_the_factor_counts_the_easy_groups_that_the_curriculum_can_use() -> None:
    run = Run(lambda prompt: RIGHT, TwoStage(switch_step=0), initial=1.0)
    assert run.step().metrics["curriculum/groups_usable"] == 4
    assert run.factor.shares == [1.0]


def test_easy_groups_are_used_from_the_switch_on() -> None:
    stages = TwoStage(switch_step=1)
    before, after = (
        Run(lambda prompt: RIGHT if prompt in ("given 0", "given 1") else MIXED, stages, initial=1.0).step(number)
        for number in (0, 1)
    )
    assert not {"given 0", "given 1"} & set(prompts_of(before))
    assert prompts_of(after) == [f"given {i}" for i in range(4)]
    assert after.metrics["curriculum/easy_trained"] == 0.5 and before.metrics["curriculum/easy_trained"] == 0


def test_kappa_decides_how_many_easy_groups_a_batch_has() -> None:
    run = Run(lambda prompt: RIGHT if prompt in ("given 0", "given 1") else MIXED, Kappa(kappa_lr=1.0), initial=2.0)
    assert run.step().metrics["curriculum/easy_trained"] == 0
    known = run.filling.observe([0.75, 0.0], 0.25)
    assert known == {"curriculum/kappa": 0.25, "curriculum/ratio": 0.75}
    filled = run.step()
    assert "given 0" in prompts_of(filled) and "given 1" not in prompts_of(filled)
    assert filled.metrics["curriculum/easy_trained"] == 0.25


def test_the_share_of_easy_groups_is_of_all_that_were_sampled() -> None:
    filled = Run(lambda prompt: RIGHT if prompt == "given 0" else MIXED, initial=1.0).step()
    sampled = filled.metrics["curriculum/groups_sampled"]
    assert sampled > 4 and filled.easy_share == filled.metrics["curriculum/easy_share"] == 1 / sampled


def test_another_curriculum_than_the_checkpoints_begins_with_what_it_knows_at_first() -> None:
    run = Run(lambda prompt: MIXED, Kappa(kappa_init=0.25))
    find_callback(run.callbacks, CurriculumMemory).values = {"of another": 3.0}
    run.step()
    assert run.filling.observe([], 0.0) == {"curriculum/kappa": 0.25, "curriculum/ratio": 0.5}


mixed_and_easy = st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), min_size=1, max_size=4)
allocations = given(ranks=mixed_and_easy, wanted=st.integers(1, 8), quota=st.integers(0, 50))


@allocations
def test_no_rank_gets_easy_groups_that_it_lacks_or_has_no_room_for(ranks: list, wanted: int, quota: int) -> None:
    taken = allocate_easy(*zip(*ranks, strict=True), wanted, quota)
    assert all(0 <= t <= min(easy, wanted) for t, (_, easy) in zip(taken, ranks, strict=True))
    assert sum(taken) <= quota


@allocations
def test_a_rank_lacks_groups_only_where_its_easy_ones_or_the_quota_are_used_up(
    ranks: list, wanted: int, quota: int
) -> None:
    taken = allocate_easy(*zip(*ranks, strict=True), wanted, quota)
    for t, (mixed, easy) in zip(taken, ranks, strict=True):
        assert mixed + t >= wanted or t == easy or sum(taken) == quota


@allocations
def test_of_more_groups_than_fit_both_kinds_are_cut_in_proportion(ranks: list, wanted: int, quota: int) -> None:
    ranks = [(mixed + wanted, easy + wanted) for mixed, easy in ranks]  # each could do with either kind
    mixed, easy = zip(*ranks, strict=True)
    taken, quota = allocate_easy(mixed, easy, wanted, quota), min(quota, sum(easy))
    assert abs(sum(taken) - wanted * len(ranks) * quota / (sum(mixed) + quota)) <= 0.5
    assert max(taken) - min(taken) <= 1


def test_ranks_that_lack_groups_get_the_easy_ones() -> None:
    assert allocate_easy([4, 1], [3, 3], 4, 2) == [0, 2]
    assert allocate_easy([4, 1], [3, 0], 4, 2) == [1, 0], "2 of 7 groups are easy, so 1 of the 5 that there is room for"
    assert allocate_easy([0, 0], [3, 3], 4, 5) == [3, 2]


def test_groups_are_chosen_in_the_order_in_which_they_were_sampled() -> None:
    kinds = [WRONG, RIGHT, MIXED, UNJUDGED, MIXED, RIGHT, MIXED]
    assert choose(kinds, real=3, easy=1, wanted=3) == [1, 2, 4]
    assert choose(kinds, real=4, easy=1, wanted=6) == [1, 2, 4, 6, 0, 3]


def gradients_of(folder: Path, judged: Judged, filler: list[bool], scale: str) -> dict[str, Tensor]:
    """Of one step on these rollouts, by parameter: plain SGD of rate 1 moves the weights by just that."""
    model = AutoModelForCausalLM.from_pretrained(resolve_model("tiny:base"), dtype="float64")
    settings = {"optim": "sgd", "learning_rate": 1.0, "max_grad_norm": 0.0, "lr_scheduler_type": "constant"}
    settings |= {"max_steps": 1, "per_device_train_batch_size": len(filler), "scale_rewards": scale}
    trainer = trainer_of(folder, model=model, **settings)
    trainer.rollouts.batch = lambda *_: Filled(judged, filler, 0.0, {})
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    trainer.train()
    return {name: before[name] - p.detach() for name, p in model.named_parameters()}


@pytest.mark.slow
@pytest.mark.parametrize("scale", ["group", "batch"])
def test_fillers_leave_the_gradient_as_it_is_without_them(tmp_path: Path, scale: str) -> None:
    trainer = trainer_of(tmp_path, per_device_train_batch_size=32, max_completion_length=120)
    rows = [trainer.train_dataset[i // 4] for i in range(32)]
    judged = trainer.rollouts.batch(rows, [False] * 32, trainer.creditor.kinds, trainer._moment()).judged
    groups = [list(range(first, first + 4)) for first in range(0, 32, 4)]
    kinds = [MIXED if len({judged.verdicts[i] for i in group}) > 1 else WRONG for group in groups]
    capped = [any(judged.rollouts[i].stop_reason is StopReason.LENGTH for i in group) for group in groups]
    real = groups[kinds.index(MIXED)]
    filler = next(group for group, is_capped in zip(groups, capped, strict=True) if is_capped and group is not real)
    alone = gradients_of(tmp_path / "alone", judged.take(real), [False] * 4, scale)
    filled = gradients_of(tmp_path / "filled", judged.take(real + filler), [False] * 4 + [True] * 4, scale)
    largest = max(gradient.abs().max() for gradient in alone.values())
    assert largest > 0
    for name, gradient in alone.items():
        torch.testing.assert_close(filled[name], gradient, atol=1e-6 * largest, rtol=0, msg=name)


@pytest.fixture(scope="module")
def of_ranks(tmp_path_factory: pytest.TempPathFactory) -> list[dict]:
    """What each of two real processes makes of the cases of the script, by their names."""
    folder = tmp_path_factory.mktemp("ranks")
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", "--standalone", SCRIPT, folder]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[3])}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in (0, 1)]


@pytest.mark.slow
def test_two_ranks_that_sampled_different_groups_decide_alike_and_train_on_as_many(of_ranks: list[dict]) -> None:
    first, second = (of_rank["kappa"] for of_rank in of_ranks)
    assert first["metrics"] == second["metrics"] and first["known"] == second["known"]
    assert first["trained"] == ["MIXED"] * 4 and first["filler"] == []
    # Five mixed groups on both ranks, and kappa is 0.3: two easy ones. The second rank's one alone would admit none.
    assert second["trained"] == ["ALL_CORRECT", "ALL_CORRECT", "MIXED"] and second["filler"] == ["ALL_CORRECT"]
    assert first["asked"] == [4, 0] and second["asked"] == [4, 1], "the first waits for the second"
    assert first["metrics"]["curriculum/filled"] == 7 / 8


@pytest.mark.slow
def test_accuracy_is_of_the_rollouts_with_a_verdict_though_a_rank_has_none(of_ranks: list[dict]) -> None:
    assert [of_rank["no verdict"]["metrics"]["curriculum/sampled_correct"] for of_rank in of_ranks] == [1, 1]


@pytest.mark.slow
def test_all_ranks_fail_together_where_none_has_a_group(of_ranks: list[dict]) -> None:
    first, second = (of_rank["nothing"] for of_rank in of_ranks)
    assert first["error"] == second["error"] and "none of the 8 groups" in first["error"]


@pytest.mark.slow
def test_a_rank_without_a_group_goes_along_with_one_that_has_some(of_ranks: list[dict]) -> None:
    first, second = (of_rank["one rank"] for of_rank in of_ranks)
    assert first["trained"] == [] and first["filler"] == ["ALL_WRONG"] * 4
    assert second["trained"] == ["MIXED"] and len(second["filler"]) == 3
