"""The oversampling factor: how it follows the share of groups with a signal, and that checkpoints keep it."""

import json
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from transformers import Trainer, TrainerCallback, TrainingArguments

from concise_rl.schedule import OversampleFactor


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


class Line(nn.Module):
    """The smallest model that transformers' Trainer takes."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor, labels: Tensor) -> dict[str, Tensor]:
        return {"loss": ((self.weight * x - labels) ** 2).mean()}


class Sampled(TrainerCallback):
    """Notes a step in the schedule that the trainer has, as its own steps would."""

    def __init__(self) -> None:
        self.factors: list[float] = []

    def on_step_end(self, args, state, control, **kwargs) -> None:
        schedule = next(c for c in self.trainer.callback_handler.callbacks if isinstance(c, OversampleFactor))
        schedule.update(64, 16 + state.global_step)
        self.factors.append(schedule.factor)


def factors_of(folder: Path, steps: int, resume: bool = False) -> list[float]:
    """The factor after each step of a run of transformers' own Trainer, whose checkpoint comes every second step."""
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
    watcher = Sampled()
    trainer = Trainer(Line(), args, train_dataset=rows, callbacks=[OversampleFactor(window=3), watcher])
    watcher.trainer = trainer
    trainer.train(resume_from_checkpoint=resume or None)
    return watcher.factors


def test_a_resumed_run_goes_on_with_the_factor_of_the_checkpoint(tmp_path: Path) -> None:
    unbroken = factors_of(tmp_path / "unbroken", 4)
    first = factors_of(tmp_path / "broken", 2)
    assert [*first, *factors_of(tmp_path / "broken", 4, resume=True)] == unbroken
    assert len(set(unbroken)) == 4
