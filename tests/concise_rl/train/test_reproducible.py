"""A step is a function of its seed and its rows, and not of how they are cut into micro-batches."""

from pathlib import Path

import pytest

from tests.concise_rl.train.test_resume import steps_of
from tests.concise_rl.train.test_trainer import trainer_of


def test_two_runs_of_a_seed_log_the_same_numbers_and_another_seed_logs_others(tmp_path: Path) -> None:
    logged = []
    for name, seed in (("one", 1), ("again", 1), ("other", 2)):
        trainer_of(tmp_path / name, max_steps=1, seed=seed).train()
        logged.append(steps_of(tmp_path / name / "metrics.jsonl"))
    assert logged[0] == logged[1]
    assert len(logged[0]) == 1 and logged[0][0]["length/mean"] != logged[2][0]["length/mean"]


def test_a_step_in_several_micro_batches_is_the_step_in_one(tmp_path: Path) -> None:
    steps = []
    for name, rows, times in (("whole", 8, 1), ("cut", 2, 4)):
        settings = {"per_device_train_batch_size": rows, "gradient_accumulation_steps": times}
        trainer_of(tmp_path / name, max_steps=1, **settings).train()
        steps += steps_of(tmp_path / name / "metrics.jsonl")
    whole, cut = steps
    assert whole["grad_norm"] > 0
    for name in ("loss", "grad_norm", "rewards/correct/mean", "length/mean", "groups/mixed", "entropy"):
        assert cut[name] == pytest.approx(whole[name], rel=1e-4, abs=1e-6), name
