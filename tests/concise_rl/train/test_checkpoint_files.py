"""What a run goes on from, whatever becomes of the files of its checkpoints.

A kill in the middle of a save, a clock that was set back, checkpoints that people thin out, copy and move.
"""

import logging
import os
import shutil
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from concise_rl.files import MARKER
from concise_rl.train.checkpoint import drop_checkpoints, last_complete, mark_complete, saved_steps
from concise_rl.train.finish import finish_training, tell_beginning
from tests.concise_rl.train.test_finite import demonstrations
from tests.concise_rl.train.test_trainer import trainer_of

SAVING: dict[str, Any] = {"save_strategy": "steps", "save_steps": 1}


@contextmanager
def copies_of(folder: Path, into: Path) -> Generator[list[Path]]:
    """Copy the checkpoints of a run whenever one of their files has come or gone: what a kill would leave then."""
    copies: list[Path] = []
    seen: list[list[list[str]]] = [[]]

    def look(frame: object, event: str, of: object) -> None:
        if not event.endswith("return"):
            return
        sys.setprofile(None)
        now = [os.listdir(path) for path in folder.glob("checkpoint-*")]
        if now != seen[-1]:
            seen.append(now)
            copies.append(into / str(len(copies)))
            shutil.copytree(folder, copies[-1])
        sys.setprofile(look)

    sys.setprofile(look)
    try:
        yield copies
    finally:
        sys.setprofile(None)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_run_killed_after_any_file_of_a_save_has_a_whole_checkpoint(tmp_path: Path) -> None:
    run = tmp_path / "run"
    trainer = trainer_of(run, max_completion_length=32, max_steps=2, save_total_limit=1, **SAVING)
    save = trainer._save_checkpoint
    whole: dict[str, dict[str, bytes]] = {}
    killed: list[Path] = []

    def watched(model: Any, trial: Any) -> None:
        if trainer.state.global_step == 1:
            save(model, trial)
            whole["checkpoint-1"] = contents(run / "checkpoint-1")
            return
        with copies_of(run, tmp_path / "copies") as copies:
            save(model, trial)
        whole["checkpoint-2"] = contents(run / "checkpoint-2")
        killed.extend(copies)

    trainer._save_checkpoint = watched
    trainer.train()
    found = [last_complete(copy) for copy in killed]
    assert all(path and contents(path) == whole[path.name] for path in found)
    names = [path.name for path in found if path]
    assert names == sorted(names) and set(names) == {"checkpoint-1", "checkpoint-2"}
    assert names.count("checkpoint-1") >= len(whole["checkpoint-2"]) - 1, "a copy at least for each of its files"
    assert names.count("checkpoint-2") >= len(whole["checkpoint-1"]), "and for each that was deleted"


def checkpoint(run: Path, step: int, complete: bool = True) -> Path:
    folder = run / f"checkpoint-{step}"
    folder.mkdir(parents=True)
    save_file({"weight": torch.ones(2)}, folder / "model.safetensors")
    torch.save({"step": step}, folder / "optimizer.pt")
    (folder / "trainer_state.json").write_text("{}")
    if complete:
        mark_complete(run, step)
    return folder


def names(run: Path) -> set[str]:
    return {path.name for path in run.iterdir()}


def test_a_checkpoint_that_is_written_again_is_not_complete_meanwhile(tmp_path: Path, monkeypatch) -> None:
    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    checkpoint(tmp_path, 2)
    trainer = demonstrations(tmp_path, **SAVING)
    trainer.state.global_step = 2
    monkeypatch.setattr(trainer, "save_model", killed)
    with pytest.raises(KeyboardInterrupt):
        trainer._save_checkpoint(trainer.model, None)
    assert (tmp_path / "checkpoint-2" / "optimizer.pt").exists() and last_complete(tmp_path) is None


def test_a_power_failure_leaves_no_marker_without_what_it_vouches_for(tmp_path: Path, monkeypatch) -> None:
    flushed: list[str] = []
    fsync = os.fsync

    def recorded(descriptor: int) -> None:
        flushed.append(str(Path(os.readlink(f"/proc/self/fd/{descriptor}")).relative_to(tmp_path)))
        fsync(descriptor)

    trainer = demonstrations(tmp_path, **SAVING)
    trainer.create_optimizer_and_scheduler(num_training_steps=3)
    trainer.state.global_step = 2
    monkeypatch.setattr(os, "fsync", recorded)
    trainer._save_checkpoint(trainer.model, None)
    (marker,) = (i for i, name in enumerate(flushed) if f".{MARKER}." in name)
    files = {f"checkpoint-2/{name}" for name in contents(tmp_path / "checkpoint-2")} - {f"checkpoint-2/{MARKER}"}
    assert {"checkpoint-2/model.safetensors", "checkpoint-2/optimizer.pt"} < files
    assert files | {"checkpoint-2"} <= set(flushed[:marker])
    assert flushed[marker + 1 :] == ["checkpoint-2", "."], "the marker's entry, and the folder's"


def test_after_a_clock_was_set_back_the_newest_checkpoint_is_the_one_that_is_kept(tmp_path: Path) -> None:
    trainer = demonstrations(tmp_path, **SAVING, save_total_limit=1)
    trainer.create_optimizer_and_scheduler(num_training_steps=3)
    tomorrow = time.time() + 86400
    os.utime(checkpoint(tmp_path, 1), (tomorrow, tomorrow))
    trainer.state.global_step = 2
    trainer._save_checkpoint(trainer.model, None)
    assert saved_steps(tmp_path) == [2] and last_complete(tmp_path) == tmp_path / "checkpoint-2"


def test_a_torn_checkpoint_takes_no_whole_ones_place(tmp_path: Path) -> None:
    checkpoint(tmp_path, 10)
    checkpoint(tmp_path, 20, complete=False)
    checkpoint(tmp_path, 15)
    drop_checkpoints(tmp_path, 15, limit=2)
    assert names(tmp_path) == {"checkpoint-10", "checkpoint-15"}


def test_a_checkpoint_of_later_steps_goes_before_those_that_the_run_is_at(tmp_path: Path) -> None:
    for step in (10, 15, 30):
        checkpoint(tmp_path, step)
    drop_checkpoints(tmp_path, 15, limit=1)
    assert names(tmp_path) == {"checkpoint-15"}


def test_the_best_checkpoint_of_a_run_that_was_moved_is_kept(tmp_path: Path) -> None:
    for step in (1, 2, 3):
        checkpoint(tmp_path, step)
    drop_checkpoints(tmp_path, 3, limit=1, best="/where/it/was/checkpoint-1")
    assert names(tmp_path) == {"checkpoint-1", "checkpoint-3"}


def test_a_checkpoint_that_cannot_be_deleted_is_named_and_does_not_count(tmp_path: Path, monkeypatch, caplog) -> None:
    for step in (1, 2):
        checkpoint(tmp_path, step)
    monkeypatch.setattr(shutil, "rmtree", lambda path, ignore_errors: None)
    with caplog.at_level(logging.WARNING):
        drop_checkpoints(tmp_path, 2, limit=1)
    assert f"Could not delete all of {tmp_path / 'checkpoint-1'}" in caplog.text
    (tmp_path / "checkpoint-2" / MARKER).unlink()
    assert last_complete(tmp_path) is None


@pytest.mark.parametrize("how", ["deleted", "cut short"])
def test_a_checkpoint_that_has_lost_a_file_is_passed_over_and_the_file_named(tmp_path: Path, how: str, caplog) -> None:
    whole = checkpoint(tmp_path, 1)
    file = checkpoint(tmp_path, 2) / "optimizer.pt"
    file.unlink() if how == "deleted" else file.write_text("opt")
    with caplog.at_level(logging.WARNING):
        assert last_complete(tmp_path) == whole
    assert "checkpoint-2 is incomplete (optimizer.pt missing, cut short or damaged): passed over" in caplog.text


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.pt", "trainer_state.json", MARKER])
def test_a_file_of_zeros_that_a_power_failure_has_left_does_not_count(tmp_path: Path, name: str, caplog) -> None:
    whole = checkpoint(tmp_path, 1)
    file = checkpoint(tmp_path, 2) / name
    file.write_bytes(bytes(file.stat().st_size))
    with caplog.at_level(logging.WARNING):
        assert last_complete(tmp_path) == whole
    assert f"checkpoint-2 is incomplete ({name} missing, cut short or damaged): passed over" in caplog.text


@pytest.mark.parametrize("other", ["names", "shapes"])
def test_a_checkpoint_of_another_model_is_refused(tmp_path: Path, other: str) -> None:
    trainer = demonstrations(tmp_path)
    trainer.save_model(str(tmp_path / "checkpoint-1"))
    file = tmp_path / "checkpoint-1/model.safetensors"
    weights = load_file(file)
    name = next(name for name in weights if "q_proj" in name)
    weight = weights.pop(name)
    save_file(weights if other == "names" else {**weights, name: weight[:-1].contiguous()}, file)
    with pytest.raises(ValueError, match=f"weights have other {other} than the one to train: was it changed"):
        trainer._load_from_checkpoint(str(tmp_path / "checkpoint-1"))


def test_a_checkpoint_of_an_older_version_counts_by_its_marker(tmp_path: Path) -> None:
    (checkpoint(tmp_path, 7, complete=False) / MARKER).write_text("7\n")
    assert last_complete(tmp_path) == tmp_path / "checkpoint-7"


def test_a_run_that_was_moved_and_thinned_out_goes_on_from_what_is_left(tmp_path: Path, capsys) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    finish_training(demonstrations(here, **SAVING), str(here))
    trained = (here / "model.safetensors").read_bytes()
    shutil.move(here, there)
    for name in (MARKER, "model.safetensors", "checkpoint-2/optimizer.pt"):
        (there / name).unlink()
    shutil.rmtree(there / "checkpoint-3")
    finish_training(demonstrations(there, **SAVING), str(there))
    assert f"Resuming from {there / 'checkpoint-1'}" in capsys.readouterr().out
    assert (there / "model.safetensors").read_bytes() == trained and not here.exists()


def test_a_run_whose_checkpoints_are_all_gone_says_that_it_makes_its_steps_again(tmp_path: Path, capsys) -> None:
    (tmp_path / "metrics.jsonl").write_text('{"step": 1}\n{"step": 2}\n')
    tell_beginning(last_complete(tmp_path), tmp_path)
    assert capsys.readouterr().out == f"There is no complete checkpoint in {tmp_path}: its 2 steps are made again.\n"
