"""A full disk: what is kept, what is said, and that the same command goes on once there is room."""

import json
import logging
import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from concise_rl.cli import main
from concise_rl.errors import without_room
from concise_rl.evaluate.report import write_report
from concise_rl.files import MARKER, append_line, forget_later, read_lines, write_atomically
from concise_rl.recipe.parse import parse_recipe
from concise_rl.train.callbacks import MetricsFile
from concise_rl.train.checkpoint import last_complete
from concise_rl.train.finish import finish_training
from concise_rl.train.folder import claim_folder, is_free
from concise_rl.train.watch.events import listening
from reward import LengthPenalty
from tests.concise_rl.evaluate.fabric import sample, write_evaluation
from tests.concise_rl.evaluate.test_run import lines, run, spec
from tests.concise_rl.full_disk import room_for
from tests.concise_rl.train.test_finite import demonstrations
from tests.concise_rl.train.test_trainer import trainer_of

LINE: dict[str, Any] = {"step": 1, "text": "as long as a line may well be"}


def test_a_line_that_finds_no_room_does_not_spoil_the_one_after_it(tmp_path: Path) -> None:
    file = tmp_path / "metrics.jsonl"
    append_line(file, LINE)
    size = file.stat().st_size
    with room_for(size + 9), pytest.raises(OSError, match="File too large"):
        append_line(file, LINE | {"step": 2})
    assert file.stat().st_size == size + 9, "the line is torn"
    append_line(file, LINE | {"step": 3})
    assert [line["step"] for line in read_lines(file)] == [1, 3]


def test_a_line_that_the_end_of_a_process_tore_does_not_spoil_the_one_after_it(tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    for torn in ("", '{"step": 1}\n{"st'):
        file.write_text(torn)
        append_line(file, {"step": 2})
        assert read_lines(file)[-1] == {"step": 2}


def test_metrics_that_find_no_room_are_warned_of_and_later_ones_are_written(tmp_path: Path, caplog) -> None:
    args = TrainingArguments(output_dir=str(tmp_path), use_cpu=True, report_to="none")
    file, control = tmp_path / "metrics.jsonl", TrainerControl()
    for step in (1, 2, 3):
        state = TrainerState(is_world_process_zero=True, global_step=step)
        with ExitStack() as stack:
            if step == 2:
                stack.enter_context(room_for(file.stat().st_size + 5))
            MetricsFile().on_log(args, state, control, logs={"loss": 0.5})
    assert "Could not write metrics of step 2: [Errno 27] File too large" in caplog.text
    forget_later(file, 3)
    assert [line["step"] for line in read_lines(file)] == [1, 3]


def test_an_event_that_finds_no_room_is_told_in_a_line_and_later_ones_are_written(tmp_path: Path, capsys) -> None:
    file = tmp_path / "events.jsonl"
    with listening() as listener:
        listener.open(file)
        listener.tell("started")
        with room_for(file.stat().st_size + 5):
            listener.tell("saved")
        listener.tell("finished")
    (said,) = capsys.readouterr().err.splitlines()
    assert said == f"WARNING: Could not write to {file}: [Errno 27] File too large"
    assert [event["event"] for event in read_lines(file)] == ["started", "finished"]


class Full(TrainerCallback):
    """Fills the disk after some steps, and makes room again after others."""

    def __init__(self, num_bytes: int, full: int, free: int = 10**6) -> None:
        self.num_bytes, self.full, self.free, self.stack = num_bytes, full, free, ExitStack()

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step == self.full:
            self.stack.enter_context(room_for(self.num_bytes))
        if state.global_step == self.free:
            self.stack.close()


def test_a_full_disk_costs_a_run_what_it_shows_of_a_step_and_nothing_else(tmp_path: Path, caplog, capsys) -> None:
    # capsys: what the run prints is no file then, and finds room.
    trainer = trainer_of(tmp_path, LengthPenalty(), max_steps=3, max_completion_length=32, page_every=0)
    trainer.add_callback(full := Full(60, full=1, free=2))  # bytes that every file has already
    with caplog.at_level(logging.WARNING), full.stack:
        trainer.train()
    for file in ("metrics.jsonl", "rollouts.jsonl"):
        assert {line["step"] for line in read_lines(tmp_path / file)} == {1, 3}
    assert read_lines(tmp_path / "events.jsonl")[-1]["event"] == "finished"
    for what in ("write metrics of step 2", "record rollouts of step 2"):
        assert f"Could not {what}" in caplog.text
    assert f"WARNING: Could not write to {tmp_path / 'events.jsonl'}" in capsys.readouterr().err


@pytest.mark.parametrize("num_bytes", [10**5, 5 * 10**6], ids=["the weights", "the optimizer"])
def test_a_checkpoint_that_finds_no_room_for(tmp_path: Path, num_bytes: int) -> None:
    settings = {"save_strategy": "steps", "save_steps": 1, "save_total_limit": 1}
    trainer = demonstrations(tmp_path, **settings)
    trainer.add_callback(full := Full(num_bytes, full=1))
    with pytest.raises(Exception) as stopped, full.stack:
        finish_training(trainer, str(tmp_path))
    said = without_room(stopped.value)
    assert said and said.startswith("The disk is full") and "\n" not in said
    assert last_complete(tmp_path) == tmp_path / "checkpoint-1"
    finish_training(demonstrations(tmp_path, **settings), str(tmp_path))
    assert (tmp_path / MARKER).is_file() and last_complete(tmp_path) == tmp_path / "checkpoint-3"
    assert not (tmp_path / "checkpoint-1").exists(), "deleted once there are newer ones"


def test_a_model_that_finds_no_room_is_not_marked_and_is_written_by_the_next_start(tmp_path: Path) -> None:
    settings = {"save_strategy": "steps", "save_steps": 1}
    trainer = demonstrations(tmp_path, **settings)
    trainer.train()
    with room_for(10**5), pytest.raises(Exception, match="File too large") as stopped:
        finish_training(demonstrations(tmp_path, **settings), str(tmp_path))
    assert without_room(stopped.value) and not (tmp_path / MARKER).exists()
    finish_training(demonstrations(tmp_path, **settings), str(tmp_path))
    assert (tmp_path / MARKER).is_file() and (tmp_path / "model.safetensors").is_file()


def test_a_run_that_finds_no_room_for_its_settings_leaves_its_folder_free(tmp_path: Path) -> None:
    recipe = parse_recipe("recipes/tiny/grpo.yaml", ["--output_dir", str(tmp_path / "run")])
    with room_for(40), pytest.raises(OSError, match="File too large"):
        claim_folder(recipe)
    assert is_free(tmp_path / "run")
    claim_folder(recipe)
    assert json.loads((tmp_path / "run" / "recipe.json").read_text())["objective"] == "grpo"


def test_samples_that_find_no_room_are_drawn_again_and_nothing_else_is(tmp_path: Path) -> None:
    run(spec(tmp_path), tmp_path / "whole")
    whole = (tmp_path / "whole" / "samples" / "baseline.0.jsonl").stat().st_size
    out = tmp_path / "out"
    with room_for(whole - 100), pytest.raises(OSError, match="File too large"):
        run(spec(tmp_path), out)
    baseline, model = run(spec(tmp_path), out)
    for name in ("baseline.0", "m.0"):
        assert lines(out, name) == lines(tmp_path / "whole", name)
    assert (len(baseline.calls), len(model.calls)) == (1, 3), "what was written counts"


def test_a_report_that_finds_no_room_is_told_in_a_line_and_leaves_the_one_before(tmp_path: Path) -> None:
    write_evaluation(tmp_path, None, ("grpo", [sample(0, 0)]), problems=1, samples=1)
    write_report(tmp_path)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    before = {path: path.read_bytes() for path in files}
    (tmp_path / "report.json").write_text("{}")
    with room_for(2000), pytest.raises(SystemExit) as stopped:
        main(["report", str(tmp_path)])
    assert str(stopped.value).startswith("error: The disk is full, or a limit is reached ([Errno 27] File too large)")
    assert (tmp_path / "report.json").read_text() == "{}"
    write_report(tmp_path)
    assert {path: path.read_bytes() for path in files} == before
    assert not list(tmp_path.rglob(".*"))


def test_another_error_is_not_taken_for_a_full_disk() -> None:
    assert without_room(RuntimeError("CUDA out of memory")) is None
    try:
        raise KeyError("a") from OSError(28, "No space left on device")
    except KeyError as error:
        assert without_room(error)


REAL = """
set -eu
mount -t tmpfs -o size=11m tmpfs "$1"
train() { "$2" -m concise_rl.train --config recipes/tiny/length_penalty.yaml --output_dir "$1/run" --max_steps 3 \
    --per_device_train_batch_size 8 --num_rows 64 --max_completion_length 32 --save_steps 1 2>&1; }
train "$@" && exit 3
mount -o remount,size=60m "$1"
train "$@"
test -f "$1/run/COMPLETE"
wc -l < "$1/run/metrics.jsonl"
"""


def can_mount() -> bool:
    """Whether this user may mount something for a process of its own."""
    command = ["unshare", "-rm", "sh", "-c", "mount -t tmpfs tmpfs /mnt"]
    return sys.platform == "linux" and subprocess.run(command, capture_output=True, check=False).returncode == 0


@pytest.mark.slow
@pytest.mark.skipif(not can_mount(), reason="needs a file system of its own, which unshare -rm and mount make")
def test_a_run_goes_on_when_a_disk_that_was_full_has_room_again(tmp_path: Path) -> None:
    command = ["unshare", "-rm", "bash", "-c", REAL, "bash", str(tmp_path), sys.executable]
    ran = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": "."}, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "error: The disk is full, or a limit is reached" in ran.stdout
    assert "Traceback" not in ran.stdout and f"Resuming from {tmp_path}/run/checkpoint-1" in ran.stdout
    assert ran.stdout.splitlines()[-1] == "4"  # three steps and the end


def test_a_file_that_is_replaced_stays_whole(tmp_path: Path) -> None:
    write_atomically(tmp_path / "a", "before")
    with room_for(3), pytest.raises(OSError, match="File too large"):
        write_atomically(tmp_path / "a", "after")
    assert (tmp_path / "a").read_text() == "before" and len(list(tmp_path.iterdir())) == 1
