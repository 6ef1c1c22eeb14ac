"""A signal stops a training with a checkpoint, and the same command goes on."""

import os
import signal
from pathlib import Path

import pytest

from concise_rl.errors import AGAIN
from concise_rl.train.__main__ import main
from concise_rl.train.callbacks import MetricsFile
from concise_rl.train.checkpoint import last_complete
from concise_rl.train.watch.run import read_run, status
from tests.concise_rl.train.test_run import TINY, small


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGTERM], ids=["SIGUSR1", "SIGTERM"])
def test_a_signal_ends_the_step_saves_a_checkpoint_and_says_that_there_is_more(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    of_file, sent = MetricsFile.on_log, []

    def log_and_signal(self: MetricsFile, args: object, state: object, *rest: object, **more: object) -> None:
        of_file(self, args, state, *rest, **more)  # ty: ignore[invalid-argument-type]
        if not sent:  # a second SIGTERM ends the process at once
            sent.append(number)
            os.kill(os.getpid(), number)

    monkeypatch.setattr(MetricsFile, "on_log", log_and_signal)
    before = signal.getsignal(number)
    settings = {"max_steps": 3, "save_strategy": "steps", "save_steps": 100}
    with pytest.raises(SystemExit) as ended:
        main(small(TINY, tmp_path / "run", **settings))
    stopped = last_complete(tmp_path / "run")
    assert ended.value.code == AGAIN and stopped and stopped.name in ("checkpoint-1", "checkpoint-2")
    assert f"{signal.Signals(number).name} has stopped the training after step" in capsys.readouterr().err
    assert status(read_run(tmp_path / "run"), now=0).word == "stopped"
    assert signal.getsignal(number) == before
    main(small(TINY, tmp_path / "run", **settings))
    assert f"Resuming from {stopped}" in capsys.readouterr().out
