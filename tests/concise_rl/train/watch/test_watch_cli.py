"""`concise-rl watch`."""

import json
import os
from pathlib import Path

import psutil
import pytest

from concise_rl.cli import main
from concise_rl.train.watch.run import machine
from concise_rl.train.watch.terminal import sparkline
from tests.concise_rl.train.watch.test_run import start, write_run

SHARES = {"groups/all_correct": 0.5, "groups/mixed": 0.25, "groups/all_wrong": 0.25, "groups/no_signal": 0.5}
METRICS = SHARES | {
    **{"correct/mean": 0.9, "length/mean": 40.0, "step_time": 3.0, "time/rollout": 2.0},
    **{"stop/eos": 0.75, "stop/length": 0.25},
}


def run_of(folder: Path) -> Path:
    """A run that goes on, in this process, and has warned."""
    warning = {"time": 1.0, "event": "warning", "logger": "concise_rl.train.callbacks"}
    warnings = [warning | {"step": step, "text": f"Step {step}: careful"} for step in range(5)]
    this = start(os.getpid(), psutil.Process().create_time(), machine())
    return write_run(folder, events=[this, *warnings], **METRICS)


def test_a_run_is_shown_once_where_nobody_looks_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["watch", str(run_of(tmp_path))])
    shown = capsys.readouterr().out
    for said in ("running", "step 5 of 20, about 2 min left at 10 s a step", "90.0 %", "mixed 25 %", "no signal 50 %"):
        assert said in shown
    for said in ("rollouts 2, update 1", "eos 75 %, length 25 %", "step 4: careful", "and 2 earlier"):
        assert said in shown


def test_a_script_reads_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["watch", str(run_of(tmp_path)), "--json"])
    (run,) = json.loads(capsys.readouterr().out)
    assert (run["status"], run["step"], run["seconds_left"], len(run["warnings"])) == ("running", 5, 150.0, 5)
    assert run["metrics"]["groups/mixed"] == 0.25


def test_the_page_is_written_anew(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["watch", str(run_of(tmp_path)), "--page"])
    assert str(tmp_path / "run.html") in capsys.readouterr().out.replace("\n", "")
    assert (tmp_path / "run.html").is_file()


def test_a_torn_last_line_is_no_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with (run_of(tmp_path) / "metrics.jsonl").open("a") as file:
        file.write('{"step": 6, "lo')
    main(["watch", str(tmp_path)])
    assert "step 5 of 20" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["none"], "none is not a folder: give the output_dir of a run."),
        (["empty"], "empty is empty: give the output_dir of a run."),
        (["run", "--page", "x.html"], "The page of one run is run.html in its folder: give --page without a file."),
        (["run", "run", "--page"], "A page of several runs lies in none of their folders: give --page FILE.html."),
    ],
)
def test_wrong_words_are_answered_in_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "run").mkdir()
    run_of(tmp_path / "run")
    with pytest.raises(SystemExit, match=said):
        main(["watch", *words])


def test_a_sparkline_goes_from_the_smallest_to_the_largest() -> None:
    assert sparkline([None, 0.0, 7.0, 3.0]) == "▁█▄"
    assert sparkline([1.0, 1.0]) == "▁▁"
    assert sparkline([float(i) for i in range(800)], width=8) == "▁▂▃▄▅▆▇█"
    assert sparkline([]) == ""
