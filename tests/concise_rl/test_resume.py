"""A resumed run is the run that it resumes."""

from pathlib import Path
from typing import Any

import pytest
import torch

from concise_rl import ConciseTrainer, load_rows, to_messages
from concise_rl.resume import EpochSampler, load_state, save_state, state_file
from tests.concise_rl.test_trainer import config, metrics_of, trainer_of

OF_A_PROCESS = ("time/", "runtime", "_per_second", "step_time", "verifier/", "judge/")
"""Times, and what is counted since the process began."""


def run(folder: Path, checkpoint: Path | None = None, **settings: Any) -> list[dict[str, Any]]:
    """Metrics of every step of a run over six problems, two a generation batch."""
    rows = to_messages(load_rows("tiny:sums", num_rows=6))
    args = config(folder, save_strategy="steps", save_steps=1, save_only_model=False, **settings)
    ConciseTrainer("tiny:base", args, rows).train(resume_from_checkpoint=checkpoint and str(checkpoint))
    return [
        {key: value for key, value in step.items() if not any(word in key for word in OF_A_PROCESS)}
        for step in metrics_of(folder)
        if "loss" in step
    ]


CASES: dict[str, tuple[int, dict[str, Any]]] = {
    "between epochs of 3 steps": (3, {"max_steps": 5}),
    "in the second epoch": (4, {"max_steps": 5}),
    "in the middle of a generation batch": (
        3,
        {"max_steps": 5, "steps_per_generation": 2, "per_device_train_batch_size": 4},
    ),
    "between two iterations": (5, {"max_steps": 6, "num_iterations": 2}),
    "with a curriculum that has learnt": (
        2,
        {
            "max_steps": 4,
            "objective": "decs",
            "curriculum": "kappa",
            "curriculum_options": {"kappa_init": 0.4, "kappa_lr": 1.0, "rounds": 10},
        },
    ),
    "in a generation batch of groups": (
        2,
        {"max_steps": 5, "steps_per_generation": 4, "per_device_train_batch_size": 4, "shared_prefix": True},
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_a_resumed_run_has_the_metrics_of_the_unbroken_one(tmp_path: Path, case: str) -> None:
    step, settings = CASES[case]
    unbroken = run(tmp_path, **settings)
    resumed = run(tmp_path, tmp_path / f"checkpoint-{step}", **settings)  # makes the steps after it again
    assert resumed == unbroken


@pytest.mark.slow
def test_a_run_resumed_between_two_logs_has_the_metrics_since_the_first(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"max_steps": 4, "logging_steps": 2}
    *_, unbroken = run(tmp_path, **settings)
    *_, resumed = run(tmp_path, tmp_path / "checkpoint-3", **settings)
    of_transformers = ("loss", "grad_norm")  # which takes the mean over the steps since the resume
    assert {k: v for k, v in resumed.items() if k not in of_transformers} == {
        k: v for k, v in unbroken.items() if k not in of_transformers
    }


def test_each_epoch_has_an_order_of_its_own_whichever_was_before() -> None:
    def order(epoch: int) -> list[int]:
        sampler = EpochSampler(range(50), mini_repeat_count=1, seed=3)
        sampler.epoch = epoch
        return list(sampler)

    first, third = order(0), order(2)
    sampler = EpochSampler(range(50), mini_repeat_count=1, seed=3)
    assert list(sampler) == first
    sampler.epoch = 2
    assert list(sampler) == third
    assert first != third
    assert sorted(first) == sorted(third)


def test_a_checkpoint_of_other_processes_is_refused(tmp_path: Path) -> None:
    trainer = trainer_of(tmp_path)
    save_state(trainer, tmp_path)
    file = state_file(tmp_path, 0)
    torch.save(torch.load(file) | {"world_size": 4}, file)
    with pytest.raises(ValueError, match=r"cannot be resumed by 1 processes: it was written by 4\. Start as many"):
        load_state(trainer, tmp_path)


def test_a_checkpoint_that_lacks_this_rank_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="it was written by fewer"):
        load_state(trainer_of(tmp_path), tmp_path)
