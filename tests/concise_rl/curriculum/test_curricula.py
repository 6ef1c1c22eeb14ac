"""Curricula and the oversampling factor: what they make of a step, and that checkpoints keep what they know."""

import json
import statistics
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from transformers import Trainer, TrainerCallback, TrainingArguments

from concise_rl.curriculum.curricula import (
    CURRICULA,
    Curriculum,
    DynamicSampling,
    Kappa,
    TwoStage,
    build_curriculum,
    kappa_quota,
)
from concise_rl.curriculum.filling import find_callback
from concise_rl.curriculum.kinds import GroupKind, group_kinds
from concise_rl.curriculum.memory import CurriculumMemory, OversampleFactor

NAN = float("nan")


def after(*steps: tuple[int, int], **options: float) -> OversampleFactor:
    """A schedule that has seen steps of (sampled, passed)."""
    schedule = OversampleFactor(**options)
    for sampled, passed in steps:
        schedule.update(sampled, passed)
    return schedule


def test_before_the_first_step_the_factor_is_the_initial_one() -> None:
    assert OversampleFactor().factor == 1.5
    assert OversampleFactor(initial=2.5).factor == 2.5


def test_the_factor_is_one_over_the_share_of_groups_with_a_signal() -> None:
    assert after((128, 64)).factor == 2.0
    assert after((128, 64), (64, 32)).factor == 2.0


def test_shares_that_vary_add_their_standard_deviation_as_a_safety() -> None:
    assert after((100, 30), (100, 50)).factor == pytest.approx((1 + 0.1) / 0.4)


def test_steps_count_alike_whatever_they_sampled() -> None:
    assert after((10, 3), (1000, 500)).factor == pytest.approx((1 + 0.1) / 0.4)


@pytest.mark.parametrize(("passed", "factor"), [(128, 1.2), (120, 1.2), (10, 5.0), (0, 5.0)])
def test_the_factor_stays_within_its_bounds(passed: int, factor: float) -> None:
    assert after((128, passed)).factor == factor


@given(st.lists(st.integers(0, 128), max_size=30), st.integers(1, 5))
def test_only_the_last_steps_are_remembered(passed: list[int], window: int) -> None:
    steps = [(128, p) for p in passed]
    assert after(*steps, window=window).factor == after(*steps[-window:], window=window).factor


@pytest.mark.parametrize("options", [{"window": 0}, {"min_factor": 0.0}, {"min_factor": 3.0, "max_factor": 2.0}])
def test_what_cannot_be_meant_is_refused(options: dict) -> None:
    with pytest.raises(ValueError, match=r"window|bounds"):
        OversampleFactor(**options)


@pytest.mark.parametrize(("sampled", "passed"), [(0, 0), (8, 9), (8, -1)])
def test_a_step_that_cannot_be_is_a_fault_of_the_caller(sampled: int, passed: int) -> None:
    with pytest.raises(AssertionError, match="groups"):
        after((sampled, passed))


def test_its_state_survives_json() -> None:
    schedule = after((128, 30), (96, 50), window=7, max_factor=3.0)
    restored = OversampleFactor.from_state(json.loads(json.dumps(schedule.state())))
    assert restored.state() == schedule.state()
    assert restored.factor == schedule.factor


def test_groups_are_told_apart_by_the_verdicts_that_there_are() -> None:
    groups = [[1, 0, 1], [1, NAN, 0], [1, 1, 1], [NAN, 1, NAN], [0, 0, 0], [0, NAN, NAN], [NAN, NAN, NAN]]
    mixed, right, wrong, unjudged = GroupKind
    assert group_kinds(torch.tensor(groups)) == [mixed, mixed, right, right, wrong, wrong, unjudged]


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), min_size=1, max_size=4), st.integers(0, 9))
def test_dynamic_sampling_never_uses_a_group_without_errors(rounds: list[tuple[int, int]], step: int) -> None:
    assert DynamicSampling().easy_quota(rounds, {}, step) == 0


@pytest.mark.parametrize(("step", "quota"), [(0, 0), (4, 0), (5, 9), (6, 9)])
def test_two_stages_use_all_groups_without_errors_from_the_switch_on(step: int, quota: int) -> None:
    assert TwoStage(switch_step=5).easy_quota([(3, 4), (1, 5)], {}, step) == quota


@given(st.floats(0.001, 0.999), st.integers(0, 500))
def test_with_its_quota_easy_groups_have_at_most_a_share_of_kappa_and_one_more_would_be_too_many(
    kappa: float, mixed: int
) -> None:
    quota, _ = kappa_quota(kappa, mixed, 10**9)
    share = [easy / max(easy + mixed, 1) for easy in (quota, quota + 1)]
    assert share[0] <= kappa + 1e-9 and (share[1] > kappa - 1e-9)


@pytest.mark.parametrize("kappa", [-0.3, 0.0])
def test_a_kappa_of_zero_or_less_adds_nothing_and_counts_nothing(kappa: float) -> None:
    assert kappa_quota(kappa, 50, 50) == (0, 0)


def test_mixed_groups_are_counted_on_until_an_easy_one_is_due() -> None:
    assert kappa_quota(0.2, 3, 9) == (0, 3)
    assert kappa_quota(0.2, 4, 9) == (1, 0)
    assert kappa_quota(0.2, 4, 0) == (0, 0), "it was due, and there was none"
    assert Kappa().easy_quota([(3, 9), (1, 9), (3, 9)], {"kappa": 0.2, "ratio": 0.5}, 0) == 1


def test_a_kappa_of_one_takes_what_there_is() -> None:
    assert kappa_quota(1.0, 3, 9) == (9, 0)
    assert kappa_quota(1.4, 0, 9) == (9, 0)


ratios = st.lists(st.floats(0, 1), min_size=1, max_size=8)


@given(st.lists(ratios, max_size=6))
def test_unclipped_kappa_is_how_far_the_ratio_is_from_where_it_began(steps: list[list[float]]) -> None:
    method, values = (
        Kappa(kappa_lr=0.3, kappa_init=0.1, ratio_init=0.4),
        Kappa(ratio_init=0.4, kappa_init=0.1).initial(),
    )
    stated = [0.4]
    for step in steps:
        values = method.observe(values, step, 0.0)
        stated += [statistics.fmean(ratio for ratio in step if ratio)] if any(step) else []
    assert values["ratio"] == stated[-1]
    assert values["kappa"] == pytest.approx(0.1 + 0.3 * (stated[-1] - 0.4))


@given(st.lists(st.tuples(ratios, st.floats(0, 1)), min_size=1, max_size=6))
def test_clipped_kappa_lies_between_0_and_the_share_of_easy_groups(steps: list[tuple[list[float], float]]) -> None:
    method = Kappa(kappa_lr=5, variant="paper")
    values = method.initial()
    for step, easy_share in steps:
        values = method.observe(values, step, easy_share)
        assert not any(step) or 0 <= values["kappa"] <= easy_share


@pytest.mark.parametrize("variant", ["code", "paper"])
@pytest.mark.parametrize("ratios", [[], [0.0, 0.0], [NAN]])
def test_a_step_in_which_nothing_states_the_answer_leaves_kappa_as_it_is(variant: str, ratios: list[float]) -> None:
    method, before = Kappa(variant=variant), {"kappa": 0.3, "ratio": 0.7}
    assert method.observe(before, ratios, 0.1) == before


def test_rollouts_that_never_state_the_answer_do_not_count_in_the_ratio() -> None:
    assert Kappa().observe({"kappa": 0.0, "ratio": 0.5}, [0.0, 0.6, 0.8], 0.0)["ratio"] == pytest.approx(0.7)


@pytest.mark.parametrize("name", CURRICULA)
def test_every_curriculum_is_built_by_its_name(name: str) -> None:
    options = {"switch_step": 3} if name == "two_stage" else {}
    assert build_curriculum(name, options) == CURRICULA[name](**options)
    assert build_curriculum(name, {**options, "rounds": 10}).rounds == 10
    assert CURRICULA[name].__doc__ and CURRICULA[name].paper.startswith("https://")


class EveryOther(Curriculum):
    """Half of the groups without errors."""

    def easy_quota(self, rounds, values, step) -> int:
        return sum(easy for _, easy in rounds) // 2


def test_a_curriculum_of_the_users_own_is_built_by_its_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("concise_rl.reading.trace.EveryOther", EveryOther, raising=False)
    assert isinstance(build_curriculum("concise_rl.reading.trace.EveryOther", {"rounds": 2}), EveryOther)


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("kapa", {}, "Unknown curriculum 'kapa'. Did you mean 'kappa'"),
        ("concise_rl.reading.trace.Trace", {}, "derive the class from concise_rl.curriculum.Curriculum"),
        ("concise_rl.curriculum.curricula.Kapa", {}, "Did you mean 'Kappa'"),
        ("kappa", {"kappa_rl": 1}, "option of curriculum 'kappa': 'kappa_rl'. Did you mean 'kappa_lr'"),
        ("kappa", {"variant": "page"}, "Options of curriculum 'kappa': variant: .*'code' or 'paper'"),
        ("dynamic_sampling", {"rounds": 0}, "rounds: .*greater than or equal to 1"),
        ("two_stage", {}, "switch_step: Field required"),
    ],
)
def test_what_a_recipe_cannot_mean_is_refused(name: str, options: dict, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        build_curriculum(name, options)


class Line(nn.Module):
    """The smallest model that transformers' Trainer takes."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor, labels: Tensor) -> dict[str, Tensor]:
        return {"loss": ((self.weight * x - labels) ** 2).mean()}


class Sampled(TrainerCallback):
    """Notes a step in the callbacks that the trainer has, as its own steps would."""

    def __init__(self, kappa: Kappa) -> None:
        self.kappa, self.known = kappa, []

    def on_step_end(self, args, state, control, **kwargs) -> None:
        callbacks = self.trainer.callback_handler.callbacks
        factor, memory = find_callback(callbacks, OversampleFactor), find_callback(callbacks, CurriculumMemory)
        factor.update(64, 16 + state.global_step)
        memory.values = self.kappa.observe(memory.values, [0.1 * (1 + state.global_step)], 0.5)
        self.known.append((factor.factor, memory.values))


def known_after(
    folder: Path, steps: int, kappa: Kappa, resume: bool = False, remembers: bool = True
) -> list[tuple[float, dict]]:
    """Factor, kappa and R after each step of a run of transformers' own Trainer, with a checkpoint every other step."""
    rows = [{"x": 1.0, "labels": 2.0}] * 16
    args = TrainingArguments(
        output_dir=str(folder),
        max_steps=steps,
        save_steps=2,
        per_device_train_batch_size=2,
        use_cpu=True,
        report_to="none",
        disable_tqdm=True,
        logging_strategy="no",
        restore_callback_states_from_checkpoint=True,
    )
    watcher = Sampled(kappa)
    callbacks = [OversampleFactor(window=3), CurriculumMemory(kappa.initial()), watcher]
    trainer = Trainer(Line(), args, train_dataset=rows, callbacks=callbacks if remembers else [])
    watcher.trainer = trainer
    trainer.train(resume_from_checkpoint=resume or None)
    return watcher.known


def test_a_resumed_run_goes_on_with_what_the_checkpoint_knew(tmp_path: Path) -> None:
    unbroken = known_after(tmp_path / "unbroken", 4, Kappa())
    first = known_after(tmp_path / "broken", 2, Kappa())
    assert [*first, *known_after(tmp_path / "broken", 4, Kappa(), resume=True)] == unbroken
    assert len({factor for factor, _ in unbroken}) == len({values["kappa"] for _, values in unbroken}) == 4


def test_a_run_resumed_with_other_options_has_those(tmp_path: Path) -> None:
    before = known_after(tmp_path, 2, Kappa())[-1][1]
    after = known_after(tmp_path, 4, Kappa(kappa_lr=1.0), resume=True)
    assert after[0][1]["kappa"] == pytest.approx(before["kappa"] + 1.0 * 0.1)


def test_a_run_resumed_from_a_checkpoint_that_knew_nothing_goes_on_and_saves(tmp_path: Path) -> None:
    known_after(tmp_path, 2, Kappa(), remembers=False)
    known_after(tmp_path, 4, Kappa(), resume=True)
    state = json.loads((tmp_path / "checkpoint-4" / "trainer_state.json").read_text())
    assert state["stateful_callbacks"]["CurriculumMemory"]["args"]["values"]["ratio"] == pytest.approx(0.5)
