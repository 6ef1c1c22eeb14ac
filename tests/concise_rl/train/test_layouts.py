"""The same rollouts on one process, on two, and in micro-batches; and under what shards a model."""

import importlib.util
import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from reward import OBJECTIVES
from tests.concise_rl.train.layouts_run import KINDS, LAYOUTS, LOSSES, METHODS, OF_LOSSES
from tests.concise_rl.train.test_world_size import ROOT

RUN = Path(__file__).with_name("layouts_run.py")
EPSILON = 2.0**-24
"""Rounding of a float32 sum."""
TOKENS = 16 * 64
"""The most in the loss of a step. A gradient is a sum over them, in another order in each layout."""
FIRST_STEP = TOKENS * EPSILON
"""Of the gradient norm: what a sum of so many numbers may be off by, as part of the sum of their sizes."""
SECOND_STEP = 10 * FIRST_STEP
"""The same after weights that differ by the first step's error, at a learning rate of 0.1."""
OF_THE_LAYOUT = ("padding/forwarded", "prefix/forwarded", "step_time", "time/")
"""Metrics of how micro-batches were cut, and of the clock."""
SHARDED = ["fsdp2", *(["zero2", "zero3"] if importlib.util.find_spec("deepspeed") else [])]

Found = Callable[[str], dict[str, Any]]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Found:
    """What came of every layout: one process runs beside two, each all of its own."""
    folder = tmp_path_factory.mktemp("layouts")
    names = [*LAYOUTS, *OF_LOSSES, "one", "ddp", *SHARDED]
    every = LAYOUTS | OF_LOSSES | KINDS
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    started = []
    for processes in (1, 2):
        ours = [name for name in names if every[name].processes == processes]
        command = [sys.executable, *torchrun, str(processes), str(RUN), str(folder), *ours]
        with (folder / f"{processes}.log").open("w") as log:
            started.append(subprocess.Popen(command, env=environment, cwd=ROOT, stdout=log, stderr=log))
    try:
        ended = [one.wait(timeout=900) for one in started]
    finally:
        for one in started:
            one.terminate()
    for processes, status in enumerate(ended, start=1):
        assert status == 0, (folder / f"{processes}.log").read_text()[-3000:]
    return lambda name: torch.load(folder / f"{name}.pt", weights_only=True)


def test_every_method_that_trains_online_is_compared() -> None:
    assert METHODS.keys() == OBJECTIVES.keys()


def assert_alike(step: dict[str, float], base: dict[str, float], tolerance: float) -> None:
    """Metrics of a step in another layout. Those that are counted from rollouts are means in float32, of numbers that
    are exact."""
    names = {name for name in base if not name.startswith(OF_THE_LAYOUT)}
    assert names == {name for name in step if not name.startswith(OF_THE_LAYOUT)}
    for name in names:
        wanted = base[name] if base[name] is None else pytest.approx(base[name], rel=tolerance, abs=tolerance / 10)
        assert step[name] == wanted, name


@pytest.mark.slow
@pytest.mark.parametrize("layout", [layout for layout in LAYOUTS if layout != "1x12"])
@pytest.mark.parametrize("method", METHODS)
def test_a_method_trains_alike_on_two_processes_and_in_micro_batches(found: Found, method: str, layout: str) -> None:
    (steps, worth), (base, base_worth) = found(layout)[method], found("1x12")[method]
    for mine, theirs in zip(worth, base_worth, strict=True):
        for name, values, wanted in zip(("rewards", "advantages"), mine, theirs, strict=True):
            assert torch.equal(values.nan_to_num(nan=-9.0), wanted.nan_to_num(nan=-9.0)), name
    assert any(advantages.any() for _, advantages in worth) and any(step["grad_norm"] > 0 for step in base)
    for step, theirs, tolerance in zip(steps, base, (FIRST_STEP, SECOND_STEP), strict=True):
        assert_alike(step, theirs, tolerance)


@pytest.mark.slow
@pytest.mark.parametrize("loss", [loss for loss in LOSSES if loss != "bnpo"])
def test_a_loss_type_is_the_same_on_two_processes_with_micro_batches(found: Found, loss: str) -> None:
    steps, base = (found(name)[loss][0] for name in OF_LOSSES)
    for step, theirs, tolerance in zip(steps, base, (FIRST_STEP, SECOND_STEP), strict=True):
        assert_alike(step, theirs, tolerance)


@pytest.mark.slow
def test_bnpo_alone_depends_on_the_micro_batch_whose_tokens_it_divides_by(found: Found) -> None:
    (step, _), (base, _) = (found(name)["bnpo"][0] for name in OF_LOSSES)
    assert step["rewards/correct/mean"] == base["rewards/correct/mean"]
    assert step["grad_norm"] != pytest.approx(base["grad_norm"], rel=0.01)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["ddp", "fsdp2", "zero2", "zero3"])
def test_twenty_steps_are_those_of_one_process(found: Found, kind: str) -> None:
    if kind not in ("ddp", *SHARDED):
        pytest.skip("the extra deepspeed is not installed")
    spread = {"ddp": "MULTI_CPU", "fsdp2": "FSDP"}.get(kind, kind)
    assert found(kind)["spread"] == spread and len(found(kind)["steps"]) == 20
    for name in ("loss", "grad_norm", "kl", "entropy"):
        of_one, of_kind = (
            torch.tensor([step[name] for step in found(which)["steps"]], dtype=torch.float64) for which in ("one", kind)
        )
        size, residual = of_one.abs().mean(), of_kind - of_one
        # Each step adds what a sum may be off by. Rounding falls on both sides: it adds up as a random walk does, and
        # its mean is nearer to 0.
        assert residual.abs().max() <= math.sqrt(20) * FIRST_STEP * size, name
        assert residual.mean().abs() <= FIRST_STEP / math.sqrt(20) * size, f"{name} drifts to one side"


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["one", "ddp", "fsdp2", "zero2", "zero3"])
def test_the_reference_model_is_the_model_before_the_first_step(found: Found, kind: str) -> None:
    if kind not in ("one", "ddp", *SHARDED):
        pytest.skip("the extra deepspeed is not installed")
    first, *_, last = (step["kl"] for step in found(kind)["steps"])
    assert abs(first) < 1e-6 and last > 1e-3
