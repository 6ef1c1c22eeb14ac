"""`report_to` goes on working: what is reported elsewhere is what metrics.jsonl has."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from concise_rl.files import read_lines

TRAIN_AND_READ = """
import json, socket, sys
from pathlib import Path
from tests.concise_rl.train.test_trainer import trainer_of
from reward import LengthPenalty

def refuse(*address):
    raise AssertionError(f"a connection to {address}")

socket.socket.connect = refuse
settings = {"report_to": "trackio", "project": "concise", "run_name": "short", "trackio_static_space_id": False}
trainer_of(Path(sys.argv[1]), LengthPenalty(), max_completion_length=32, **settings).train()

import trackio
from trackio.sqlite_storage import SQLiteStorage

(run,) = trackio.Api().runs("concise")
Path(sys.argv[1], "read.json").write_text(json.dumps(SQLiteStorage.get_logs("concise", run.name)))
"""


@pytest.mark.slow
def test_trackio_has_the_metrics_without_a_server_and_without_a_network(tmp_path: Path) -> None:
    """In a process of its own: trackio keeps the folder that it knew when it was imported."""
    pytest.importorskip("trackio")
    environment = os.environ | {"TRACKIO_DIR": str(tmp_path / "trackio")}
    command = [sys.executable, "-c", TRAIN_AND_READ, str(tmp_path / "run")]
    subprocess.run(command, check=True, env=environment, cwd=Path(__file__).parents[3], timeout=300)
    reported = [step for step in json.loads((tmp_path / "run/read.json").read_text()) if "train/loss" in step]
    logged = [step for step in read_lines(tmp_path / "run/metrics.jsonl") if "loss" in step]
    assert len(reported) == len(logged) == 2
    for there, here in zip(reported, logged, strict=True):
        assert there["train/global_step"] == here["step"]
        for key in ("loss", "correct/mean", "length/mean", "objective/reward", "stop/length"):
            assert there[f"train/{key}"] == pytest.approx(here[key])
