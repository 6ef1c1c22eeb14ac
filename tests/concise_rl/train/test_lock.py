"""One process at a time trains in a folder."""

import subprocess
import sys
from collections.abc import Generator
from pathlib import Path

import pytest

from concise_rl.recipe.parse import parse_recipe
from concise_rl.train import lock
from concise_rl.train.folder import claim_folder, is_free
from concise_rl.train.lock import LOCK, hold
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


def test_a_disk_that_knows_no_locks_is_warned_of_and_used(tmp_path: Path, monkeypatch, caplog) -> None:
    def unknown(*_: object) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr("fcntl.lockf", unknown)
    hold(tmp_path)
    assert "cannot be locked ([Errno 37] No locks available)" in caplog.text
