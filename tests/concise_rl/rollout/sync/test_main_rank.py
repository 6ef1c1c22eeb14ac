"""One engine for all ranks."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from transformers import LlamaConfig

from concise_rl.errors import EngineError
from concise_rl.rollout.engine import Asked, Request, Sampling
from concise_rl.rollout.engines.server import VllmServer
from concise_rl.rollout.sync.main_rank import OnMainRank
from concise_rl.rollout.sync.weights import write_weights
from tests.concise_rl.rollout.fake_server import EOS, FakeServer, answer_to
from tests.concise_rl.rollout.sync import plans_run
from tests.goldens import ReplayEngine

ROOT = Path(__file__).parents[4]
SCRIPT = Path(__file__).with_name("distributed_run.py")
PLANS_SCRIPT = Path(__file__).with_name("plans_run.py")


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    write_weights(tmp_path / "weights" / "step-1", [("weight", torch.ones(2))], LlamaConfig())
    return tmp_path / "weights" / "step-1"


def run_two(url: str, folder: Path, weights: Path, start_timeout: float = 30.0) -> tuple[int, list[dict]]:
    """The exit code, and what each of two ranks wrote down."""
    return run_script(folder, SCRIPT, url, folder, weights, str(start_timeout))


def run_script(folder: Path, *command: Any) -> tuple[int, list[dict]]:
    """The same of any script that writes into `folder`."""
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", "--standalone"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        [*torchrun, *command],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    files = [folder / f"rank-{rank}.json" for rank in range(2)]
    assert all(file.exists() for file in files), done.stderr[-3000:]
    return done.returncode, [json.loads(file.read_text()) for file in files]


@pytest.mark.slow
def test_each_rank_gets_its_own_rows_in_order_and_the_same_score(tmp_path: Path, weights: Path) -> None:
    with FakeServer() as fake:
        code, ranks = run_two(fake.url, tmp_path, weights)
    assert code == 0, ranks
    assert all(rank["world"] == 2 for rank in ranks)
    assert ranks[0]["ids"] == [answer_to([10, 30 + i], 8) for i in range(2)]
    assert ranks[1]["ids"] == [answer_to([20, 30 + i], 8) for i in range(3)]
    assert [rank["ended"] for rank in ranks] == [2, 3]
    assert ranks[0]["score"] == ranks[1]["score"] == [-6.0, -7.0]
    assert fake.paths.count("reload_weights") == fake.paths.count("/v1/models") == 1


@pytest.mark.slow
@pytest.mark.parametrize(("behaviour", "message"), [("error", "HTTP 500"), ("reset", "is gone")])
def test_a_server_that_fails_ends_both_ranks_with_its_error(tmp_path, weights, behaviour: str, message: str) -> None:
    with FakeServer(behaviour, good=3) as fake:
        code, ranks = run_two(fake.url, tmp_path, weights)
    assert code != 0 and all(rank["world"] == 2 for rank in ranks)
    assert ranks[0]["error"] == ranks[1]["error"] and message in ranks[0]["error"]
    assert ranks[0]["error"].startswith("EngineError") and all(rank["seconds"] < 10 for rank in ranks)


@pytest.mark.slow
def test_a_server_that_is_not_there_ends_both_ranks(tmp_path: Path, weights: Path) -> None:
    code, ranks = run_two("http://127.0.0.1:9", tmp_path, weights, start_timeout=1.0)
    assert code != 0 and all(rank["error"].startswith("EngineError: No vLLM server answers") for rank in ranks)


@pytest.mark.slow
def test_weights_that_are_torn_end_both_ranks(tmp_path: Path, weights: Path) -> None:
    (weights / "model.safetensors").unlink()
    with FakeServer() as fake:
        code, ranks = run_two(fake.url, tmp_path, weights)
    assert code != 0 and all(rank["error"].startswith("ValueError") for rank in ranks)
    assert "reload_weights" not in fake.paths


@pytest.mark.slow
def test_plans_make_as_many_calls_on_each_rank_whatever_its_own_rollouts_need(tmp_path: Path) -> None:
    code, ranks = run_script(tmp_path, PLANS_SCRIPT, tmp_path)
    assert code == 0 and all(rank["world"] == 2 for rank in ranks)
    for name, plan in plans_run.PLANS.items():
        for case, prompts in plans_run.ASKED.items():
            for rank, its_prompts in enumerate(prompts):
                alone = plans_run.rollouts_of(ReplayEngine(plans_run.STREAMS, plans_run.EOS), plan, its_prompts)
                assert ranks[rank]["found"][f"{name} {case}"] == json.loads(json.dumps(alone)), (name, case, rank)


def test_one_process_is_its_own_main_process() -> None:
    requests = [Request([10 + i], 4) for i in range(3)]
    with FakeServer() as fake:
        engine = OnMainRank.start(lambda: VllmServer(fake.url, [EOS], start_timeout=10.0), Accelerator())
        assert [c.ids for c in engine.generate(Asked(requests, Sampling()))] == [
            answer_to([10 + i], 4) for i in range(3)
        ]
        with pytest.raises(ValueError, match="--max-model-len"):
            engine.generate(Asked([Request([3], 1000)], Sampling()))
        fake.behaviour = "error"
        with pytest.raises(EngineError, match="HTTP 500"):
            engine.generate(Asked(requests, Sampling()))
