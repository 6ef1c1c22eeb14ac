"""The same run on one process and on two."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("world_size_run.py")
SAME = ("loss", "grad_norm", "rewards/correct/mean", "length/mean", "length/correct", "groups/mixed", "objective/gated")


def run(processes: int, folder: Path) -> list[dict]:
    """Metrics of each step of the run on so many processes."""
    command = [sys.executable, "-m", "torch.distributed.run", f"--nproc_per_node={processes}", "--master_port=0"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(SCRIPT.parents[2])}
    done = subprocess.run([*command, SCRIPT, folder], env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    assert f"world size {processes}" in done.stdout
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.slow
def test_a_group_that_straddles_two_processes_is_trained_on_as_on_one(tmp_path: Path) -> None:
    one, two = run(1, tmp_path / "one"), run(2, tmp_path / "two")
    for step_of_one, step_of_two in zip(one[:2], two[:2], strict=True):
        assert 0 < step_of_one["rewards/correct/mean"] <= 1 and step_of_one["grad_norm"] > 0
        for name in SAME:
            assert step_of_two[name] == pytest.approx(step_of_one[name], rel=1e-4), name
