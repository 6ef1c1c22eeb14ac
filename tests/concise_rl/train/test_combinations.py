"""Parts of methods together: what each promises by itself still holds, and facts stay with their rollouts."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor

from concise_rl import ConciseTrainer
from concise_rl.methods import (
    Clipped,
    Credit,
    Crop,
    Fact,
    Judged,
    Label,
    LossInputs,
    Memory,
    Objective,
    Parts,
    RolloutBatch,
    RunContext,
    StopReason,
    Tools,
    add_to_prompt,
)
from concise_rl.train.credit import Credited
from reward import Grpo, LcR1, SGrpo
from tests.concise_rl.train.test_resume import steps_of
from tests.concise_rl.train.test_trainer import metrics_of, trainer_of

SERIAL: dict[str, Any] = {"exit_text": "\n</think>\n", "answer_max_tokens": 16}
ROOM: dict[str, Any] = {"max_completion_length": 320, "per_device_train_batch_size": 16, "judge": "oracle"}
FEW_ROUNDS: dict[str, Any] = {"curriculum": "dynamic_sampling", "curriculum_options": {"rounds": 1}}


class Watched(ConciseTrainer):
    """Keeps what it has trained on: each batch, and what TRL was handed of it."""

    seen: list[tuple[Credited, dict[str, Any]]]

    def _log_batch(self, credited: Credited, scored: dict[str, Any], more: dict[str, float]) -> None:
        self.seen = [*getattr(self, "seen", []), (credited, scored)]
        super()._log_batch(credited, scored, more)


def trained(folder: Path, method: Objective, **settings: Any) -> Watched:
    """Two steps."""
    trainer = trainer_of(folder, method, Watched, **settings)
    trainer.train()
    assert isinstance(trainer, Watched) and len(trainer.seen) == 2
    return trainer


def assert_trained_on_the_rest(credited: Credited, scored: dict[str, Any]) -> int:
    """The ids in the loss are those that were sampled, without the redundant span. Returns how many were cropped."""
    spans = credited.batch.fact("redundant").tolist()
    handed = [ids[mask.bool()].tolist() for ids, mask in zip(*columns(scored), strict=True)]
    for sampled, (start, end), ids in zip(credited.sampled.rollouts, spans, handed, strict=True):
        assert ids == sampled.ids[:start] + sampled.ids[end:]
    assert credited.batch.length.tolist() == [len(ids) for ids in handed]
    assert credited.judged.verdicts == credited.sampled.verdicts, "answers stay"
    return sum(start < end for start, end in spans)


def columns(scored: dict[str, Any]) -> tuple[Tensor, Tensor]:
    """The completions of a batch, and which of their tokens are no padding."""
    return scored["completion_ids"], scored["completion_mask"]


def in_loss(scored: dict[str, Any]) -> Tensor:
    """(B,) tokens of each rollout that the loss reads."""
    return (scored["completion_mask"] * scored.get("tool_mask", 1)).sum(dim=1)


def assert_fillers_add_nothing(credited: Credited, scored: dict[str, Any]) -> int:
    """Neither advantage nor a token in the loss. Returns how many there are."""
    filler_B = ~credited.real_B
    assert not credited.advantages[filler_B].any() and not credited.kept_B[filler_B].any()
    assert not scored["advantages"][filler_B].any()
    assert not in_loss(scored)[filler_B].any()
    return int(filler_B.sum())


def assert_facts_are_with_their_rollouts(credited: Credited) -> None:
    """What the batch holds of each rollout is what was found out about that one."""
    for name, values in credited.judged.facts.items():
        found = credited.batch.fact(name)
        assert torch.equal(found, torch.tensor(values, dtype=found.dtype)), name


class CroppedExits(SGrpo):
    """S-GRPO on a path, and exits, without what was thought after the answer."""

    def parts(self, run: RunContext) -> Parts:
        return replace(super().parts(run), stages=(Label("chunk"), Crop()))


def test_a_path_and_its_exits_are_cropped_each_by_itself(tmp_path: Path) -> None:
    trainer = trained(tmp_path, CroppedExits(**SERIAL), **ROOM)
    cropped = [assert_trained_on_the_rest(*seen) for seen in trainer.seen]
    assert all(cropped)
    for credited, _ in trainer.seen:
        assert_facts_are_with_their_rollouts(credited)
        exits_PG = credited.batch.grouped(credited.batch.stop_reason == StopReason.FORCED_EXIT)
        assert not exits_PG[:, -1].any() and exits_PG[:, 0].any(), "the path stands last"


@pytest.mark.slow
def test_cropped_exits_that_share_their_beginning_have_the_loss_of_those_that_do_not(tmp_path: Path) -> None:
    settings = {**ROOM, "per_device_train_batch_size": 8, "gradient_accumulation_steps": 2}
    for name, shared in (("shared", True), ("apart", False)):
        trained(tmp_path / name, CroppedExits(**SERIAL), shared_prefix=shared, **settings)
    shared, apart = ([step.get("loss") for step in metrics_of(tmp_path / name)] for name in ("shared", "apart"))
    assert shared[:2] == pytest.approx(apart[:2], abs=1e-4) and any(shared[:2])


def test_groups_that_dynamic_sampling_chose_are_cropped_by_their_own_labels(tmp_path: Path) -> None:
    trainer = trained(tmp_path, LcR1(), **ROOM, **FEW_ROUNDS)
    assert sum(assert_trained_on_the_rest(*seen) for seen in trainer.seen)
    assert sum(assert_fillers_add_nothing(*seen) for seen in trainer.seen)
    for credited, _ in trainer.seen:
        assert_facts_are_with_their_rollouts(credited)


def test_the_easy_groups_that_kappa_lets_in_are_cropped_by_their_own_labels(tmp_path: Path) -> None:
    trainer = trained(tmp_path, LcR1(), **ROOM, curriculum="kappa", curriculum_options={"kappa_init": 0.5, "rounds": 1})
    assert all(assert_trained_on_the_rest(*seen) for seen in trainer.seen)
    for credited, scored in trainer.seen:
        assert_fillers_add_nothing(credited, scored)
        assert_facts_are_with_their_rollouts(credited)
        easy_P = (credited.real.grouped(credited.real.earned) == 1).all(dim=1)
        cropped_PG = credited.real.grouped(credited.real.fact("redundant").diff(dim=1).flatten() > 0)
        assert easy_P.any() and cropped_PG[easy_P].any()


class HalfKept(Grpo):
    """GRPO that keeps half of every second rollout, and pays for what is right in what it keeps."""

    def parts(self, run: RunContext) -> Parts:
        return Parts(rejudge=True)

    def kept_length(self, batch: RolloutBatch) -> Tensor:
        is_even_B = torch.arange(len(batch.length)) % 2 == 0
        return torch.where(is_even_B, batch.length // 2, batch.length)

    def rewards(self, batch: RolloutBatch) -> Tensor:
        return batch.kept_correct


def test_a_curriculum_tells_groups_apart_by_the_verdicts_on_what_is_kept(tmp_path: Path) -> None:
    trainer = trained(tmp_path, HalfKept(), **{**ROOM, **FEW_ROUNDS})
    all_right = 0
    for credited, scored in trainer.seen:
        assert_fillers_add_nothing(credited, scored)
        real = credited.real
        kept_PG, whole_PG = real.grouped(real.kept_correct), real.grouped(real.earned)
        assert (kept_PG.amax(dim=1) == 1).all() and (kept_PG.amin(dim=1) == 0).all(), "dynamic sampling: mixed groups"
        all_right += int((whole_PG == 1).all(dim=1).sum())
        again = trainer.rollouts.collector.judge_again(credited.judged, credited.kept_B.tolist())
        assert credited.batch.kept_correct[credited.real_B].tolist() == [
            verdict for verdict, is_real in zip(again, credited.real_B.tolist(), strict=True) if is_real
        ]
        assert in_loss(scored).tolist() == credited.kept_B.tolist()
    assert all_right, "by the verdicts on whole rollouts nobody would have trained on these"


@dataclass(frozen=True)
class WriteTarget:
    """Writes a number behind each prompt."""

    facts: ClassVar[tuple[Fact, ...]] = (Fact("target", dtype=torch.int64),)

    def write(self, row: dict[str, Any], rng: np.random.Generator) -> tuple[dict[str, Any], dict[str, Any]]:
        """See `PromptWriter`."""
        target = int(rng.integers(100, 1000))
        return add_to_prompt(row, f" {target}"), {"target": target}


class Targeted(Grpo):
    """GRPO under such prompts."""

    def parts(self, run: RunContext) -> Parts:
        return Parts(prompts=WriteTarget())


def test_groups_that_a_curriculum_chose_keep_what_was_written_for_them(tmp_path: Path) -> None:
    settings = {**ROOM, **FEW_ROUNDS, "curriculum_options": {"rounds": 2}, "max_completion_length": 200}
    trainer = trained(tmp_path, Targeted(), **settings)
    written: set[int] = set()
    for credited, _ in trainer.seen:
        assert_facts_are_with_their_rollouts(credited)
        target_PG = credited.batch.grouped(credited.batch.fact("target"))
        assert (target_PG == target_PG[:, :1]).all(), "once for the members of a group"
        asked = [row["prompt"][-1]["content"].rpartition(" ")[2] for row in credited.judged.rows]
        assert list(map(int, asked)) == target_PG.flatten().tolist()
        written |= set(target_PG[:, 0].tolist())
    assert len(written) > 4, "drawn anew for each group and step"
    assert metrics_of(tmp_path)[0]["curriculum/groups_sampled"] > 4


class Counting(Grpo):
    """GRPO that counts the groups that it has learnt from."""

    @property
    def credit(self) -> Credit:
        return Credit(scope="run")

    def initial(self) -> Memory:
        return {"groups": 0, "lengths": []}

    def learn(self, batch: RolloutBatch) -> Memory:
        groups = len(batch.correct) // batch.num_generations
        lengths = [*batch.memory["lengths"], batch.length.double().mean().item()]
        return {"groups": batch.memory["groups"] + groups, "lengths": lengths}

    def metrics(self, batch: RolloutBatch) -> dict[str, float]:
        return {"before": float(batch.memory["groups"])}


@pytest.mark.slow
def test_a_memory_learns_from_what_a_curriculum_chose_and_is_resumed_with_it(tmp_path: Path) -> None:
    settings = {**ROOM, "curriculum": "kappa", "curriculum_options": {"kappa_init": 0.5, "kappa_lr": 1.0, "rounds": 2}}
    settings |= {"max_completion_length": 200, "save_strategy": "steps", "save_steps": 1, "max_steps": 2}
    unbroken = trained(tmp_path, Counting(), **settings)
    real = [int(credited.real_B.sum()) // 4 for credited, _ in unbroken.seen]
    assert unbroken.memory["groups"] == sum(real) and len(unbroken.memory["lengths"]) == 2
    before = steps_of(tmp_path / "metrics.jsonl")
    assert [step["objective/before"] for step in before] == [0, real[0]]
    resumed = trainer_of(tmp_path, Counting(), **settings)
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-1"))
    assert steps_of(tmp_path / "metrics.jsonl") == before and resumed.memory == unbroken.memory


@dataclass(frozen=True)
class Measure:
    """Counts the tokens of each rollout."""

    facts: ClassVar[tuple[Fact, ...]] = (Fact("tokens", dtype=torch.int64),)

    def __call__(self, judged: Judged, tools: Tools) -> Judged:
        """See `Stage`."""
        return judged.knowing(tokens=[len(rollout.ids) for rollout in judged.rollouts])


@dataclass(frozen=True)
class Aligned:
    """GRPO's loss; every call sees to it that facts are those of the rollouts that they come with."""

    calls: list[int]
    facts: tuple[str, ...] = ("tokens",)

    def __call__(self, inputs: LossInputs) -> Tensor:
        """See `TokenLoss`."""
        assert inputs.facts["tokens"].tolist() == inputs.mask_BT.sum(dim=1).tolist()
        self.calls.append(len(inputs.mask_BT))
        return Clipped()(inputs)


class WithLoss(SGrpo):
    """S-GRPO with that loss."""

    calls: ClassVar[list[int]] = []

    def parts(self, run: RunContext) -> Parts:
        return replace(super().parts(run), stages=(Measure(),), loss=Aligned(self.calls))


@pytest.mark.slow
def test_a_loss_by_token_over_shared_beginnings_is_that_over_rows_and_has_its_facts(tmp_path: Path) -> None:
    settings = {**ROOM, "per_device_train_batch_size": 4, "gradient_accumulation_steps": 2, "max_steps": 2}
    settings.pop("judge")
    for name, method in (("shared", WithLoss(**SERIAL)), ("trl", SGrpo(**SERIAL))):
        trained(tmp_path / name, method, **settings)
    trained(tmp_path / "apart", WithLoss(**SERIAL), shared_prefix=False, **settings)
    assert len(WithLoss.calls) == 8 and set(WithLoss.calls) == {4}, "two micro-batches a step, both ways"
    shared, trl, apart = (
        [step["loss"] for step in metrics_of(tmp_path / name) if "loss" in step] for name in ("shared", "trl", "apart")
    )
    assert shared == trl == pytest.approx(apart, abs=1e-4) and any(shared)


def test_facts_follow_their_rollouts_when_some_are_taken_and_others_added() -> None:
    def judged(*names: str) -> Judged:
        return Judged([{"prompt": name} for name in names], [[1]] * len(names), [], [], []).knowing(
            name=[*names], pair=[(name, 1) for name in names]
        )

    nobody = Judged([], [], [], [], [])
    both = nobody + judged("a", "b") + judged("c")
    assert both.facts == {"name": ["a", "b", "c"], "pair": [("a", 1), ("b", 1), ("c", 1)]}
    assert both.facts["name"] == [row["prompt"] for row in both.rows]
