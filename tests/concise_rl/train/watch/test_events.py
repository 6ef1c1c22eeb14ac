"""What happens to a run is told in its folder."""

import logging
from pathlib import Path
from typing import Any

import pytest
from transformers import TrainerCallback

from concise_rl.files import read_lines
from concise_rl.train.watch.events import Listener, listening
from concise_rl.train.watch.run import read_run, status
from reward import LengthPenalty
from tests.concise_rl.train.test_trainer import trainer_of


def events_of(folder: Path, *kinds: str) -> list[dict[str, Any]]:
    """Some of the events of a run."""
    return [event for event in read_lines(folder / "events.jsonl") if event["event"] in kinds]


def test_a_run_tells_its_start_its_warnings_and_its_end(trained: Path) -> None:
    start, end = events_of(trained, "started", "finished")
    assert (start["step"], start["max_steps"], end["step"]) == (0, 2, 2)
    assert start["settings"]["max_completion_length"] == 144
    assert not [key for key in start["settings"] if "token" in key or key == "output_dir"]
    warnings = events_of(trained, "warning")
    assert warnings and all("were cut at max_completion_length" in warning["text"] for warning in warnings)
    assert {warning["step"] for warning in warnings} <= {1, 2}
    assert start["time"] < warnings[0]["time"] < end["time"]
    assert status(read_run(trained), end["time"]).word == "finished"


class Broken(TrainerCallback):
    """Ends a run in the middle."""

    def on_step_end(self, *_: Any, **__: Any) -> None:
        """Called after the first step."""
        raise RuntimeError("out of patience")


def test_a_run_that_fails_tells_why_and_shows_it(tmp_path: Path) -> None:
    trainer = trainer_of(tmp_path, LengthPenalty(), max_completion_length=32)
    trainer.add_callback(Broken())
    with pytest.raises(RuntimeError):
        trainer.train()
    assert [event["error"] for event in events_of(tmp_path, "failed")] == ["RuntimeError: out of patience"]
    assert status(read_run(tmp_path), 0).word == "failed"
    assert "out of patience" in (tmp_path / "run.html").read_text()
    assert not [handler for handler in logging.getLogger("concise_rl").handlers if isinstance(handler, Listener)]


def test_what_was_warned_of_before_the_training_is_kept(tmp_path: Path) -> None:
    logger = logging.getLogger("concise_rl.recipe.problems")
    with listening() as listener:
        logger.warning("%d rows were dropped", 3)
        with listening() as inner:
            assert inner is listener
            inner.open(tmp_path / "events.jsonl")
        logger.warning("and one more")
        logger.info("nothing")
    logger.warning("too late")
    assert [event["text"] for event in events_of(tmp_path, "warning")] == ["3 rows were dropped", "and one more"]


def test_a_full_disk_costs_an_event_and_not_the_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with listening() as listener:
        listener.open(tmp_path / "none" / "events.jsonl")
        listener.tell("saved")
    assert "No such file or directory" in capsys.readouterr().err
