"""The command, as a person meets it."""

import subprocess
import sys
from pathlib import Path

import pytest

from concise_rl.cli import build_parser, main
from reward import OBJECTIVES

TINY = str(Path(__file__).parents[2] / "recipes/tiny/grpo_lambda.yaml")


def test_help_lists_every_command(capsys) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    shown = capsys.readouterr().out
    assert all(command in shown for command in ("train", "eval", "report", "judge", "methods", "check"))


@pytest.mark.parametrize("command", ["train", "eval", "report", "judge", "methods", "check"])
def test_every_command_has_a_help_of_its_own(command: str, capsys) -> None:
    with pytest.raises(SystemExit, match="0"):
        main([command, "--help"])
    assert f"usage: concise-rl {command}" in capsys.readouterr().out


def test_help_does_not_wait_for_torch() -> None:
    code = "import sys, concise_rl.cli as c; c.build_parser(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_table_of_methods_names_every_method_and_its_paper(capsys, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    main(["methods"])
    shown = capsys.readouterr().out
    assert all(name in shown and cls.paper in shown for name, cls in OBJECTIVES.items())


def test_one_method_is_shown_with_the_bounds_and_meaning_of_its_options(capsys, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    main(["methods", "grpo_lambda"])
    shown = capsys.readouterr().out
    assert "0 <= x <= 1" in shown and "The paper's lambda" in shown and "top_fraction | threshold" in shown


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["methods", "grpo_lamda"], "Did you mean 'grpo_lambda'"),
        (["check", TINY, "--objectiv", "grpo"], "Did you mean 'objective'"),
        (["train", "nowhere.yaml"], "No recipe at nowhere.yaml"),
        (["report", "nowhere"], "nowhere"),
        (["eval", "--model", "tiny:bas", "--task", "tiny:sums", "--out", "x"], "Did you mean 'tiny:base'"),
    ],
)
def test_a_wrong_input_is_one_line_that_says_what_to_do(arguments: list[str], message: str) -> None:
    with pytest.raises(SystemExit, match=r"^error: ") as stopped:
        main(arguments)
    assert message in str(stopped.value)


def test_overrides_may_follow_the_recipe() -> None:
    arguments = build_parser().parse_args(["train", TINY, "--seed", "3", "--objective_options.alpha", "0.1"])
    assert arguments.overrides == ["--seed", "3", "--objective_options.alpha", "0.1"]
