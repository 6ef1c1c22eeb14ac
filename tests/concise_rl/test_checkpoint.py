"""Only whole checkpoints are resumed from."""

import logging
from pathlib import Path

from concise_rl.checkpoint import last_complete, mark_complete


def checkpoint(run: Path, step: int, complete: bool) -> Path:
    folder = run / f"checkpoint-{step}"
    folder.mkdir()
    (folder / "model.safetensors").write_text("weights")
    if complete:
        mark_complete(run, step)
    return folder


def test_the_newest_complete_checkpoint_is_found(tmp_path: Path) -> None:
    checkpoint(tmp_path, 9, complete=True)
    newest = checkpoint(tmp_path, 10, complete=True)
    assert last_complete(tmp_path) == newest


def test_a_torn_checkpoint_is_passed_over_and_named(tmp_path: Path, caplog) -> None:
    whole = checkpoint(tmp_path, 10, complete=True)
    checkpoint(tmp_path, 20, complete=False)
    with caplog.at_level(logging.WARNING):
        assert last_complete(tmp_path) == whole
    assert "checkpoint-20 is incomplete" in caplog.text


def test_without_a_complete_checkpoint_there_is_none(tmp_path: Path) -> None:
    checkpoint(tmp_path, 5, complete=False)
    (tmp_path / "checkpoint-best").mkdir()
    assert last_complete(tmp_path) is None
