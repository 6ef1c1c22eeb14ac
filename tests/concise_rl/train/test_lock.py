"""One process at a time trains in a folder."""

import subprocess
import sys
from collections.abc import Generator
from pathlib import Path
from types import SimpleNamespace

import pytest
from huggingface_hub.utils import filter_repo_objects

from concise_rl.recipe.parse import parse_recipe
from concise_rl.rollout.sync.links import WEIGHTS_FOLDER
from concise_rl.train import lock
from concise_rl.train.folder import claim_folder, is_free
from concise_rl.train.lock import LOCK, hold
from tests.concise_rl.train.test_finite import demonstrations
from tests.concise_rl.train.test_run import TINY, begun

LOCKED = "import fcntl, sys; f = open(sys.argv[1], 'a'); fcntl.lockf(f, fcntl.LOCK_EX); print('locked', flush=True)"


@pytest.fixture
def other(tmp_path: Path, monkeypatch) -> Generator[subprocess.Popen]:
    """Another process that has the lock of `run`."""
    monkeypatch.setattr(lock, "PATIENCE", 0.0)
    (tmp_path / "run").mkdir()
    command = [sys.executable, "-S", "-c", f"{LOCKED}; sys.stdin.read()", str(tmp_path / "run" / LOCK)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout and process.stdout.readline() == b"locked\n"
        yield process
        process.kill()


def test_a_second_start_in_a_folder_is_refused_and_changes_nothing(tmp_path: Path, other: subprocess.Popen) -> None:
    recipe = parse_recipe(TINY, ["--output_dir", str(tmp_path / "run"), "--overwrite", "true"])
    with pytest.raises(ValueError, match=r"Another process trains in .*run: wait for it, stop it, or give another"):
        claim_folder(recipe)
    assert [path.name for path in (tmp_path / "run").iterdir()] == [LOCK]


def test_the_folder_of_a_process_that_was_killed_is_free_at_once(tmp_path: Path, other: subprocess.Popen) -> None:
    other.kill()
    other.wait()
    begun(tmp_path / "run")
    begun(tmp_path / "run")  # by the same process


def test_a_lock_that_a_process_leaves_is_no_run(tmp_path: Path) -> None:
    (tmp_path / LOCK).touch()
    assert is_free(tmp_path)


def test_what_a_run_keeps_for_itself_is_not_pushed_to_the_hub(tmp_path: Path, monkeypatch) -> None:
    sent: list[str] = []

    def upload_folder(folder_path: str, ignore_patterns: list[str], **_: object) -> None:
        names = [str(path.relative_to(folder_path)) for path in Path(folder_path).rglob("*") if path.is_file()]
        sent.extend(filter_repo_objects(names, ignore_patterns=ignore_patterns))

    monkeypatch.setattr("transformers.trainer.hf_api", lambda: SimpleNamespace(upload_folder=upload_folder))
    trainer = demonstrations(tmp_path)
    trainer.hub_model_id = "acme/mine"
    hold(tmp_path)
    (tmp_path / WEIGHTS_FOLDER / "step-1").mkdir(parents=True)
    (tmp_path / WEIGHTS_FOLDER / "step-1" / "model.safetensors").touch()
    trainer.push_to_hub()
    assert {"model.safetensors", "README.md"} < {*sent}
    assert not [name for name in sent if LOCK in name or WEIGHTS_FOLDER in name]


def test_a_disk_that_knows_no_locks_is_warned_of_and_used(tmp_path: Path, monkeypatch, caplog) -> None:
    def unknown(*_: object) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr("fcntl.lockf", unknown)
    hold(tmp_path)
    assert "cannot be locked ([Errno 37] No locks available)" in caplog.text
