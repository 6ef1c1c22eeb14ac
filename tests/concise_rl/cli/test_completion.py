"""A shell completes command lines, as a person sees it."""

import os
import pty
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from concise_rl.cli import main
from concise_rl.cli.completion import SHELLS

pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
ROOT = Path(__file__).parents[3]
Type = Callable[[str, str], str]


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The script for bash."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("builtins.print", (printed := []).append)
        main(["completion", "bash"])
    path = tmp_path_factory.mktemp("completion") / "concise-rl"
    path.write_text("\n".join(printed))
    return path


@pytest.fixture(scope="module")
def type_in_bash(script: Path) -> Iterator[Type]:
    """Types words into an interactive bash, then the tab key; returns the line up to what it is waited for."""
    ours, theirs = pty.openpty()
    command = ["bash", "--noprofile", "--norc", "-i"]
    shell = subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, cwd=ROOT, env={**os.environ, "PS1": "> "}
    )

    def read_until(text: str) -> str:
        shown, ends = "", time.monotonic() + 20
        os.set_blocking(ours, False)
        while text not in shown and time.monotonic() < ends:
            try:
                shown += os.read(ours, 4096).decode()
            except BlockingIOError:
                time.sleep(0.02)
        return shown

    def type_words(words: str, awaited: str) -> str:
        os.write(ours, f"{words}\t".encode())
        shown = read_until(awaited)
        os.write(ours, b"\x15")  # Ctrl-U: the line is cleared
        return shown

    os.write(ours, f"source {script}; echo rea''dy\n".encode())
    read_until("ready")
    yield type_words
    shell.kill()
    shell.wait()
    os.close(ours)
    os.close(theirs)


@pytest.mark.parametrize(
    ("typed", "completed"),
    [
        ("concise-rl rep", "concise-rl report "),
        ("concise-rl eval --basel", "--baseline "),
        ("concise-rl eval --model tiny:s", "--model tiny:s_grpo "),
        ("concise-rl eval --model tiny:s_grpo --task ti", "--task tiny:sums "),
        ("concise-rl train recipes/tiny/s_", "recipes/tiny/s_grpo.yaml "),
        ("concise-rl report recip", "recipes/"),
        ("concise-rl methods grpo_", "grpo_lambda "),
    ],
)
def test_bash_completes(typed: str, completed: str, type_in_bash: Type) -> None:
    assert completed in type_in_bash(typed, completed)


@pytest.mark.parametrize("shell", SHELLS)
def test_every_shell_has_a_script_that_knows_the_models(shell: str, capsys) -> None:
    main(["completion", shell])
    assert "tiny:s_grpo" in capsys.readouterr().out
