"""Evaluation during training."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from concise_rl import ConciseTrainer, load_rows, to_messages
from concise_rl.rollout.sync.main_rank import leave_process_group
from tests.concise_rl.train.test_trainer import config
from tests.concise_rl.train.test_world_size import ROOT


def evaluator(tmp_path: Path, rows: int, group: int = 1, **settings) -> ConciseTrainer:
    problems = to_messages(load_rows("tiny:sums", num_rows=rows, seed=4))
    # As good as greedy: the draws of a row depend on its place in the batch.
    args = config(tmp_path, num_generations_eval=group, max_completion_length=100, temperature=0.01, **settings)
    return ConciseTrainer("tiny:base", args, problems, eval_dataset=problems)


def test_an_evaluation_is_the_mean_over_its_rollouts_however_they_fall_into_batches(tmp_path: Path) -> None:
    whole, parts = (
        evaluator(tmp_path / name, 5, per_device_eval_batch_size=size).evaluate() for name, size in (("5", 5), ("3", 3))
    )
    assert 0 < whole["eval_correct/mean"] < 1
    for name in ("correct/mean", "length/mean", "reward"):
        assert parts[f"eval_{name}"] == pytest.approx(whole[f"eval_{name}"], rel=1e-5), name


def test_an_evaluation_that_would_cut_groups_says_so(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="per_device_eval_batch_size x processes"):
        evaluator(tmp_path, 4, group=2, per_device_eval_batch_size=3).evaluate()


def main(folder: str) -> None:
    """In two processes: 5 rows in batches of 2 for each, of which the last is filled with rows that were there."""
    trainer = evaluator(Path(folder), 5, per_device_eval_batch_size=2)
    found = trainer.evaluate()
    if trainer.accelerator.is_main_process:
        print("mean of", trainer.accelerator.num_processes, found["eval_correct/mean"], found["eval_length/mean"])
    leave_process_group()


@pytest.mark.slow
def test_rows_that_fill_the_last_batch_of_two_processes_do_not_count(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", "--standalone", __file__]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run([*command, tmp_path], env=environment, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    wanted = evaluator(tmp_path / "one", 5, per_device_eval_batch_size=5).evaluate()
    *_, correct, length = done.stdout.split()
    assert "mean of 2" in done.stdout
    assert float(correct) == pytest.approx(wanted["eval_correct/mean"], abs=1e-6)
    assert float(length) == pytest.approx(wanted["eval_length/mean"], abs=1e-3)


if __name__ == "__main__":
    main(sys.argv[1])
