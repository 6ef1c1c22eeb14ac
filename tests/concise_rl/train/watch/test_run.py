"""A run is told from its folder."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from concise_rl.output.lines import in_words
from concise_rl.train.watch.run import by_step, machine, read_run, status


def write_run(folder: Path, steps: int = 5, events: list[dict[str, Any]] | None = None, **metrics: Any) -> Path:
    """A run's folder with a line for each step, ten seconds apart."""
    lines = [{"step": n, "unix_time": 1000 + 10 * n, "loss": 0.1, **metrics} for n in range(1, steps + 1)]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    if events is not None:
        (folder / "events.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))
    return folder


def start(
    pid: int = 1, created: float = 0.0, on: str = "elsewhere", at: float = 1000.0, step: int = 0
) -> dict[str, Any]:
    """The event of a start, of 20 steps."""
    event = {"time": at, "event": "resumed" if step else "started", "step": step, "max_steps": 20, "settings": {}}
    return event | {"pid": pid, "pid_created": created, "machine": on, "processes": 1, "versions": {}}


def word_of(folder: Path, seconds_later: float = 1.0) -> str:
    """The state so long after the last change of the metrics."""
    run = read_run(folder)
    return status(run, run.changed_at + seconds_later).word


def test_a_marker_says_that_a_run_is_finished(tmp_path: Path) -> None:
    write_run(tmp_path)
    (tmp_path / "COMPLETE").touch()
    assert word_of(tmp_path, 1e6) == "finished"


def test_a_run_whose_process_is_there_is_running(tmp_path: Path) -> None:
    write_run(tmp_path, events=[start(os.getpid(), psutil.Process().create_time(), machine())])
    assert word_of(tmp_path) == "running"


def test_a_run_whose_process_was_killed_has_died(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    write_run(tmp_path, events=[start(process.pid, psutil.Process(process.pid).create_time(), machine())])
    assert word_of(tmp_path) == "running"
    process.kill()
    process.wait()
    assert word_of(tmp_path) == "died"


def test_another_process_of_the_same_number_is_not_the_run(tmp_path: Path) -> None:
    write_run(tmp_path, events=[start(os.getpid(), 12.0, machine())])
    assert word_of(tmp_path) == "died"


def test_a_run_on_another_machine_is_told_by_the_age_of_its_metrics(tmp_path: Path) -> None:
    write_run(tmp_path, events=[start()])
    assert [word_of(tmp_path, after) for after in (5, 299, 301)] == ["running", "running", "silent"]


def test_slow_steps_have_more_patience(tmp_path: Path) -> None:
    write_run(tmp_path, events=[start()])
    slow = [{"step": n, "unix_time": 1000 + 100 * n} for n in range(1, 6)]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in slow))
    assert [word_of(tmp_path, after) for after in (999, 1001)] == ["running", "silent"]


def test_an_error_is_told(tmp_path: Path) -> None:
    write_run(tmp_path, events=[start(), {"time": 1, "event": "failed", "step": 5, "error": "ValueError: no\nmore"}])
    run = read_run(tmp_path)
    assert status(run, 0).word == "failed"
    assert status(run, 0).why == "It ended at step 5 with ValueError: no."


def test_a_run_that_ctrl_c_has_ended_is_stopped_and_has_not_failed(tmp_path: Path) -> None:
    write_run(tmp_path, events=[start(), {"time": 1, "event": "failed", "step": 5, "error": "KeyboardInterrupt"}])
    found = status(read_run(tmp_path), 0)
    assert (found.word, found.why) == ("stopped", "It was interrupted at step 5. The same command goes on.")


def test_a_run_that_goes_on_after_an_error_has_not_failed(tmp_path: Path) -> None:
    failed = {"time": 1, "event": "failed", "step": 5, "error": "RuntimeError"}
    write_run(tmp_path, events=[start(), failed, start(os.getpid(), psutil.Process().create_time(), machine(), step=4)])
    assert word_of(tmp_path) == "running"
    assert read_run(tmp_path).resumed_at == [4]


def test_a_run_that_ended_by_itself_before_its_last_step_has_stopped(tmp_path: Path) -> None:
    write_run(tmp_path, events=[start(), {"time": 1, "event": "finished", "step": 5}])
    assert word_of(tmp_path) == "stopped"


def test_the_time_left_is_estimated_by_the_clock_of_this_process(tmp_path: Path) -> None:
    write_run(tmp_path, events=[start(at=1025.0)])
    run = read_run(tmp_path)
    assert (run.step, run.max_steps, run.seconds_a_step, run.seconds_left) == (5, 20, 10.0, 150.0)


def test_a_run_without_a_clock_is_estimated_by_its_step_times(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "step_time": 3.0}\n{"step": 2, "step_time": 5.0}\n')
    (tmp_path / "recipe.json").write_text('{"max_steps": 4}')
    assert read_run(tmp_path).seconds_left == 8.0


def test_what_is_logged_of_a_step_stands_together() -> None:
    lines = [{"step": 1, "loss": 1}, {"step": 2, "loss": 2}, {"step": 2, "eval_loss": 3}, {"step": 1, "loss": 4}]
    assert by_step(lines) == [{"step": 1, "loss": 4}, {"step": 2, "loss": 2, "eval_loss": 3}]


def test_what_is_no_finite_number_is_a_gap(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "a": NaN}\n{"step": 2, "a": null}\n{"step": 3, "a": 1}\n')
    assert read_run(tmp_path).values("a") == [None, None, 1]


@pytest.mark.parametrize(
    ("seconds", "words"), [(5, "5 s"), (99.4, "99 s"), (720, "12 min"), (12000, "3 h 20 min"), (187200, "2 d 4 h")]
)
def test_time_is_said_as_people_say_it(seconds: float, words: str) -> None:
    assert in_words(seconds) == words


def test_a_run_that_has_logged_nothing_yet_is_read(tmp_path: Path) -> None:
    (tmp_path / "recipe.json").write_text('{"max_steps": 4}')
    run = read_run(tmp_path)
    assert (run.steps, run.step) == ([], 0)
    assert [status(run, time.time() + later).word for later in (0, 301)] == ["running", "silent"]


def test_what_is_no_run_is_refused_in_a_line(tmp_path: Path) -> None:
    for folder, said in ((tmp_path / "none", "is not a folder"), (tmp_path, "is empty")):
        with pytest.raises(ValueError, match=said):
            read_run(folder)
    (tmp_path / "notes.txt").touch()
    with pytest.raises(ValueError, match="is not the folder of a run"):
        read_run(tmp_path)
