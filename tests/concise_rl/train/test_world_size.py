"""A recipe on two processes. What several processes compute: test_layouts."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from transformers import AutoModelForCausalLM

ROOT = Path(__file__).parents[3]


def launch(command: list) -> str:
    """What the command prints; it has to end well."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def metrics_of(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


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
