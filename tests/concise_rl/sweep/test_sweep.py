"""The whole command: it goes on where it was killed, keeps what is trained, shows what failed."""

import html
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from concise_rl.cli import main
from concise_rl.files import MARKER
from concise_rl.sweep.plan import Run
from concise_rl.sweep.record import read_record
from tests.concise_rl.sweep.small import SHORT, TINY, WORDS, make_trained, planned

MEASURED = ["--problems", "2", "--samples", "1", "--max-tokens", "320"]


def command(out: Path, *words: str, seeds: int = 2) -> list[str]:
    recipes = [str(TINY / f"{name}.yaml") for name in ("grpo", "grpo_lambda")]
    settings = [word for key, value in SHORT.items() for word in (f"--{key}", str(value))]
    return ["sweep", *recipes, "--seeds", str(seeds), "--out", str(out), *MEASURED, *settings, *words]


def test_a_dry_run_shows_the_plan_and_writes_nothing(tmp_path: Path, capsys) -> None:
    make_trained(planned(tmp_path, "grpo")[0])
    main(command(tmp_path, "--dry-run"))
    lines = capsys.readouterr().out.splitlines()
    assert any("grpo-0" in line and "trained" in line for line in lines)
    assert any("grpo_lambda-1" in line and "to train" in line for line in lines)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["runs"]


def test_a_fault_of_any_recipe_is_found_before_the_first_training(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"grpo_lambda.yaml: .*alhpa") as refused:
        main(command(tmp_path, "--set", "objective_options.alhpa=1"))
    assert "grpo_lambda.yaml" in str(refused.value) and not (tmp_path / "runs").exists()


def test_what_is_trained_is_kept_and_measured_though_another_run_fails(tmp_path: Path, capsys, monkeypatch) -> None:
    *others, failing = planned(tmp_path, "grpo", "grpo_lambda", seeds=2)
    for run in others:
        make_trained(run)
    before = written(tmp_path / "runs")
    fails = [sys.executable, "-c", "raise SystemExit('error: the disk is full')"]
    monkeypatch.setattr(Run, "command", property(lambda run: fails))
    with pytest.raises(SystemExit) as ended:
        main(command(tmp_path, "--pair", "grpo", "baseline"))
    assert ended.value.code == 1
    state = read_record(tmp_path).runs[failing.name]
    assert (state.status, state.error) == ("failed", "error: the disk is full")
    shown = capsys.readouterr().out
    assert "3 of 4 runs are trained already." in shown
    assert "grpo_lambda-1: failed, error: the disk is full" in shown
    page = (tmp_path / "compare.html").read_text()
    assert "the disk is full" in page and "Chosen pairs" in page and "1 seed" in shown
    assert read_record(tmp_path).commands[0] in html.unescape(page)
    assert written(tmp_path / "runs") == before
    manifest = json.loads((tmp_path / "eval/eval.json").read_text())
    measured = [(run["label"], run["run"]) for run in manifest["models"]]
    assert sorted(measured) == [("grpo", 0), ("grpo", 1), ("grpo_lambda", 0)]


def test_a_pair_of_a_recipe_that_is_not_there_is_refused_before_anything_is_trained(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"Unknown recipe of --pair 'grop'.*'grpo'"):
        main(command(tmp_path, "--pair", "grpo_lambda", "grop"))
    assert not list(tmp_path.iterdir())


def written(runs: Path) -> dict[Path, int]:
    """When each file of trained runs was written."""
    return {path: path.stat().st_mtime_ns for path in runs.glob("*/*") if path.is_file()}


def processes_of(out: Path) -> list[int]:
    """Processes whose command line names a folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes()
        except OSError:  # it has just ended
            continue
        if str(out).encode() in words and int(path.parent.name) != os.getpid():
            found.append(int(path.parent.name))
    return found


@pytest.mark.slow
def test_a_sweep_that_is_killed_goes_on_and_ends_in_its_page(tmp_path: Path, capsys) -> None:
    out = tmp_path / "sweep"
    words = command(out, "--max_completion_length", "96", seeds=1)
    make_trained(planned(out, "grpo", words=[*WORDS, "--max_completion_length=96"])[0])
    with subprocess.Popen([sys.executable, "-m", "concise_rl.cli", *words], stdout=subprocess.DEVNULL) as first:
        while not (marks := list(out.glob(f"runs/*/checkpoint-1/{MARKER}"))):
            assert first.poll() is None, "it has ended before a checkpoint was written"
            time.sleep(0.05)
        for process in processes_of(out):
            os.kill(process, signal.SIGKILL)
    cut = marks[0].parents[1]
    assert not (cut / MARKER).exists()
    main(words)
    assert all(state.status == "trained" for state in read_record(out).runs.values())
    assert f"Resuming from {cut}/checkpoint-1" in cut.with_name(f"{cut.name}.log").read_text()
    assert "grpo_lambda" in (out / "compare.html").read_text()
    assert "AES" in capsys.readouterr().out and len(list(out.glob("runs/*/model.safetensors"))) == 2
