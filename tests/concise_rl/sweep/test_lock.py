"""One sweep at a time in a folder."""

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from concise_rl.sweep import lock as lock_module
from concise_rl.sweep.lock import LOCK, locked


def test_a_second_sweep_in_a_folder_is_refused_while_the_first_runs(tmp_path: Path) -> None:
    with locked(tmp_path), pytest.raises(ValueError, match="A sweep is running in"), locked(tmp_path):
        pass
    with locked(tmp_path):
        pass


def test_a_lock_is_free_when_its_owner_was_killed(tmp_path: Path) -> None:
    code = "import os, pathlib; from concise_rl.sweep.lock import locked\n"
    code += f"with locked(pathlib.Path({str(tmp_path)!r})): os.kill(os.getpid(), 9)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    with locked(tmp_path):
        pass


def test_a_training_that_outlives_its_sweep_keeps_others_out(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(lock_module, "PATIENCE", 0.5)
    with locked(tmp_path) as lock:
        training = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=(lock,))
    dead = subprocess.Popen(["true"])
    dead.wait()
    (tmp_path / LOCK).write_text(json.dumps({"pid": dead.pid, "host": socket.gethostname()}))
    with pytest.raises(ValueError, match="has left behind still runs"), locked(tmp_path):
        pass
    training.communicate(b"\n")
    with locked(tmp_path):
        pass
