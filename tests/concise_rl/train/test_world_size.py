"""The same run on one process and on two."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

ROOT = Path(__file__).parents[3]
SCRIPT = Path(__file__).with_name("world_size_run.py")
SAME = (
    *("loss", "grad_norm", "rewards/correct/mean", "length/mean", "length/correct", "groups/mixed"),
    *("rollout/sampled", "reflections/mean", "verifier/judged", "verifier/correct", "judge/passages"),
)


def run(processes: int, folder: Path, method: str, shared_prefix: str = "null") -> list[dict]:
    """Metrics of each step of the run on so many processes."""
    command = [sys.executable, "-m", "torch.distributed.run", f"--nproc_per_node={processes}", "--standalone"]
    assert f"world size {processes}" in launch([*command, SCRIPT, folder, method, shared_prefix])
    return metrics_of(folder)


def launch(command: list) -> str:
    """What the command prints; it has to end well."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def metrics_of(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def assert_alike(one: Path, two: Path, *more: str) -> None:
    """Metrics of both steps, and the weights after them."""
    for step_of_one, step_of_two in zip(metrics_of(one)[:2], metrics_of(two)[:2], strict=True):
        assert 0 < step_of_one["rewards/correct/mean"] <= 1 and step_of_one["grad_norm"] > 0
        for name in (*SAME, *more):
            assert step_of_two[name] == pytest.approx(step_of_one[name], rel=1e-4), name
    weights_of_one, weights_of_two = (torch.load(folder / "weights.pt") for folder in (one, two))
    for name, weight in weights_of_one.items():
        torch.testing.assert_close(weights_of_two[name], weight, atol=1e-6, rtol=0, msg=name)


@pytest.mark.slow
def test_a_group_that_straddles_two_processes_is_trained_on_as_on_one(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    run(1, one, "grpo_lambda"), run(2, two, "grpo_lambda")
    assert_alike(one, two, "objective/gated")


@pytest.mark.slow
def test_serial_groups_on_two_processes_with_a_tree_each_are_trained_on_as_padded_rows_on_one(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    run(1, one, "s_grpo", "false")
    steps = run(2, two, "s_grpo")
    assert all(step["prefix/forwarded"] < 0.5 and step["stop/forced_exit"] == 0.75 for step in steps[:2])
    assert_alike(one, two, "objective/exits_right", "objective/exit_position")


@pytest.mark.slow
def test_a_recipe_trains_under_zero_3_in_two_processes(tmp_path: Path) -> None:
    accelerate = [
        sys.executable,
        "-m",
        "accelerate.commands.launch",
        "--config_file",
        "launch/accelerate/cpu_zero3.yaml",
    ]
    recipe = ["-m", "concise_rl.train", "--config", "recipes/tiny/grpo_lambda.yaml", "--output_dir", tmp_path / "run"]
    small = {"max_steps": 1, "num_rows": 64, "per_device_train_batch_size": 8, "max_completion_length": 96}
    launch([*accelerate, *recipe, *(word for key, value in small.items() for word in (f"--{key}", str(value)))])
    step = metrics_of(tmp_path / "run")[0]
    assert step["epoch"] == 2 * 8 / (64 * 8), "two processes took 8 rows each"
    assert step["grad_norm"] > 0
    AutoModelForCausalLM.from_pretrained(tmp_path / "run")
