"""How far a training is, read while it writes."""

import json
from pathlib import Path

import pytest

from concise_rl.sweep.progress import Progress, last_error, read_progress


def test_a_line_that_is_still_being_written_does_not_count(tmp_path: Path) -> None:
    step = {"step": 3, "loss": 0.1, "correct/mean": 0.5, "length/mean": 40.25}
    (tmp_path / "metrics.jsonl").write_text(json.dumps(step) + '\n{"step": 4, "lo')
    assert read_progress(tmp_path) == Progress(3, 0.5, 40.25)
    assert str(read_progress(tmp_path)) == "accuracy 50.0 %, 40.2 tokens"


def test_the_summary_that_ends_a_training_is_no_step(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text('{"step": 3, "loss": 0.1}\n{"step": 3, "train_runtime": 9.0}\n')
    assert read_progress(tmp_path) == Progress(3)


def test_a_run_that_has_not_begun_is_at_step_0(tmp_path: Path) -> None:
    assert read_progress(tmp_path / "nowhere") == Progress(0) and str(Progress(0)) == ""


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("100%|###|\rerror: no rows\n", "error: no rows"),
        (
            "Traceback\n  File x\ntorch.OutOfMemoryError: CUDA out of memory\nbye\n",
            "torch.OutOfMemoryError: CUDA out of memory",
        ),
        ("step 1\nKilled\n", "Killed"),
        ("", "it has said nothing"),
    ],
)
def test_the_reason_is_the_last_line_that_names_an_error(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "a.log").write_text(text)
    assert last_error(tmp_path / "a.log") == said


def test_a_training_that_was_killed_without_a_word_names_the_signal(tmp_path: Path) -> None:
    (tmp_path / "a.log").write_text(" 25%|##        | 1/4")
    assert last_error(tmp_path / "a.log", status=137) == "killed by SIGKILL"


def test_errors_of_earlier_attempts_are_not_this_ones(tmp_path: Path) -> None:
    (tmp_path / "a.log").write_text("error: old\nKilled\n")
    assert last_error(tmp_path / "a.log", start=11) == "Killed"
