"""Trainings as processes: they end with the sweep, share the machine, and fail one by one."""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from concise_rl.sweep.jobs import train_all
from concise_rl.sweep.launch import check_devices, environment, find_launcher
from concise_rl.sweep.plan import Run
from concise_rl.sweep.process import process
from tests.concise_rl.sweep.small import ROOT, TINY, planned

SLEEPS = [sys.executable, "-c", "print('begun', flush=True); import time; time.sleep(600)"]


class Notes:
    """Writes down what it is told."""

    def __init__(self) -> None:
        self.ends: dict[str, int] = {}
        self.most = 0

    def started(self, run: Run) -> None:
        """Nothing to note."""

    def looked(self, running: Sequence[Run]) -> None:
        self.most = max(self.most, len(running))

    def ended(self, run: Run, status: int) -> None:
        self.ends[run.name] = status


class Ends:
    """A job that ends the second time that it is looked at."""

    def __init__(self, status: int) -> None:
        self.looks, self.status = 0, status

    def poll(self) -> int | None:
        self.looks += 1
        return self.status if self.looks > 1 else None


def test_a_run_that_fails_does_not_stop_the_others(tmp_path: Path) -> None:
    notes = Notes()
    runs = planned(tmp_path, "grpo", "s_grpo", seeds=2)
    train_all(runs, 2, lambda run, slot, stack: Ends(run.name == "grpo-0"), notes)
    assert notes.ends == {"grpo-0": 1, "s_grpo-0": 0, "grpo-1": 0, "s_grpo-1": 0}


def test_as_many_runs_train_at_a_time_as_asked_for(tmp_path: Path) -> None:
    notes = Notes()
    train_all(planned(tmp_path, "grpo", "s_grpo", seeds=2), 3, lambda run, slot, stack: Ends(0), notes)
    assert notes.most == 3


def wait_until(holds, seconds: float = 20.0) -> None:
    """Wait for something that another process does."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it has not come about"
        time.sleep(0.05)


def test_a_training_ends_with_the_context_that_holds_it(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    with open(tmp_path / "lock", "w") as lock, process(SLEEPS, log, dict(os.environ), lock.fileno()) as kept:
        wait_until(lambda: "begun" in log.read_text())
        assert kept.poll() is None
    assert kept.poll() == 128 + 15


def test_a_training_ends_when_its_sweep_is_killed(tmp_path: Path) -> None:
    log, code = tmp_path / "a.log", "import os, time; print(os.getpid(), flush=True); time.sleep(600)"
    sweep = f"""
import os, sys, time
from pathlib import Path
from concise_rl.sweep.process import process
with open({str(tmp_path / "lock")!r}, "w") as lock:
    with process([sys.executable, "-c", {code!r}], Path({str(log)!r}), dict(os.environ), lock.fileno()):
        time.sleep(600)
"""
    with subprocess.Popen([sys.executable, "-c", sweep]) as owner:
        wait_until(lambda: log.is_file() and log.read_text().count("\n") == 2, 60)
        owner.kill()
    training = int(log.read_text().split("\n")[1])
    wait_until(lambda: not Path(f"/proc/{training}").exists())


def test_the_log_says_which_command_wrote_it(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    with open(tmp_path / "lock", "w") as lock, process(["echo", "a b"], log, {}, lock.fileno()) as kept:
        assert kept.wait() == 0
    head, said = log.read_text().splitlines()
    assert head.startswith("# 20") and head.endswith("echo 'a b'") and said == "a b"


def test_runs_that_train_at_a_time_share_cores_and_gpus() -> None:
    both = [environment(2, slot, 2, cores=16, inherited={}) for slot in (0, 1)]
    assert [own["CUDA_VISIBLE_DEVICES"] for own in both] == ["0,1", "2,3"]
    assert {own["OMP_NUM_THREADS"] for own in both} == {"8"}


def test_devices_and_threads_that_the_user_has_chosen_are_kept() -> None:
    own = environment(1, 1, 2, cores=16, inherited={"CUDA_VISIBLE_DEVICES": "4,6", "OMP_NUM_THREADS": "3"})
    assert (own["CUDA_VISIBLE_DEVICES"], own["OMP_NUM_THREADS"]) == ("6", "3")


def test_more_gpus_than_there_are_is_refused_in_a_line() -> None:
    with pytest.raises(ValueError, match=r"2 runs at a time, 8 GPUs each: this machine has \d+\. Lower --jobs"):
        check_devices(8, 2)


def test_a_recipe_for_gpus_is_started_as_its_header_says() -> None:
    launcher = find_launcher(ROOT / "recipes/r1-distill-qwen-1.5b/dot.yaml", {})
    assert (launcher.processes, launcher.gpus) == (4, 4)
    assert launcher.words[1:3] == ("-m", "accelerate.commands.launch")
    assert "launch/accelerate/zero2.yaml" in " ".join(launcher.words)


def test_an_accelerate_configuration_goes_before_the_header() -> None:
    file = str(ROOT / "launch/accelerate/zero3.yaml")
    launcher = find_launcher(ROOT / "recipes/r1-distill-qwen-1.5b/dot.yaml", {}, accelerate=file)
    assert (launcher.processes, launcher.gpus) == (8, 8) and file in launcher.words


def test_a_recipe_for_cpus_is_started_without_accelerate() -> None:
    launcher = find_launcher(TINY / "grpo.yaml", {"use_cpu": True})
    assert (launcher.words, launcher.processes, launcher.gpus) == ((sys.executable,), 1, 0)


def test_an_accelerate_configuration_that_is_not_there_is_refused() -> None:
    with pytest.raises(ValueError, match=r"No accelerate configuration at nowhere\.yaml"):
        find_launcher(TINY / "grpo.yaml", {"use_cpu": True}, accelerate="nowhere.yaml")
