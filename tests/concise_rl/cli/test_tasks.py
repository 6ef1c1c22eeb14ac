"""What is printed about the benchmarks."""

import json

import pytest

from concise_rl.cli import main
from concise_rl.tasks.benchmarks import BENCHMARKS


def test_every_benchmark_is_shown_whole_however_narrow_the_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    main(["tasks"])
    shown = capsys.readouterr().out
    words = " ".join(shown.split())
    assert max(map(len, shown.splitlines())) <= 80 and "…" not in shown
    for name, one in BENCHMARKS.items():
        assert f" {name} " in shown and one.note.split(". ")[0] in words


def test_scripts_get_the_whole_revision_and_the_template(capsys: pytest.CaptureFixture[str]) -> None:
    main(["tasks", "aime24", "--json"])
    (one,) = json.loads(capsys.readouterr().out)
    assert one["revision"] == BENCHMARKS["aime24"].revision and "{prompt}" in one["prompt_template"]


def test_an_unknown_benchmark_is_refused_with_the_nearest() -> None:
    with pytest.raises(SystemExit, match="'gpqa_diamond'"):
        main(["tasks", "gpqa_diamon"])
