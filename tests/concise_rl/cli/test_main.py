"""The command, as a person meets it."""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from concise_rl.cli import main, methods_table
from concise_rl.cli.commands import COMMANDS, Command
from concise_rl.cli.parser import build_parser
from concise_rl.cli.recipes import arrange

ROOT = Path(__file__).parents[3]
TINY = str(ROOT / "recipes/tiny/grpo_lambda.yaml")
NAMED = {"argvalues": COMMANDS, "ids": [command.name for command in COMMANDS]}


def test_help_lists_every_command_under_its_group(capsys) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    shown = capsys.readouterr().out
    for command in COMMANDS:
        section = shown.partition(f"\n{command.group}:\n")[2].partition("\n\n")[0]
        assert f"  {command.name} " in section and command.summary in section


@pytest.mark.parametrize("command", **NAMED)
def test_the_help_of_a_command_begins_with_its_examples(command: Command, capsys) -> None:
    with pytest.raises(SystemExit, match="0"):
        main([command.name, "--help"])
    opening, usage, _ = capsys.readouterr().out.partition(f"usage: concise-rl {command.name}")
    assert usage and all(example in opening for example in command.examples)


@pytest.mark.parametrize("command", **NAMED)
def test_examples_are_understood_and_name_recipes_that_exist(command: Command) -> None:
    assert command.examples
    for example in command.examples:
        program, *words = shlex.split(example)
        assert program == "concise-rl" and build_parser().parse_args(arrange(words)).run_command == command.run
        assert all((ROOT / word).is_file() for word in words if word.startswith("recipes/"))


def test_help_does_not_wait_for_torch() -> None:
    code = "import sys, concise_rl.cli as c; c.build_parser(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["trian"], "Did you mean 'train'"),
        (["report", "x", "--jsno"], "Unknown option of concise-rl report '--jsno'. Did you mean '--json'?"),
        (["report", "x", "y"], "concise-rl report does not take 'y'"),
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


@pytest.mark.parametrize(("command", "missing"), [("report", "DIR"), ("train", "RECIPE"), ("eval", "--model, --task")])
def test_a_missing_argument_is_one_line(command: str, missing: str, capsys) -> None:
    with pytest.raises(SystemExit, match="2"):
        main([command])
    said = f"error: the following arguments are required: {missing}. See concise-rl {command} --help.\n"
    assert capsys.readouterr().err == said


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_closes_the_pipe_sees_no_traceback(unbuffered: str) -> None:
    command = [sys.executable, "-m", "concise_rl.cli", "eval", "--help"]
    environment = os.environ | {"PYTHONUNBUFFERED": unbuffered}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment) as process:
        assert process.stdout and process.stderr
        process.stdout.close()
        assert process.stderr.read() == b""


def test_an_interruption_is_one_line(monkeypatch, capsys) -> None:
    def interrupted(name: str | None) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(methods_table, "print_methods", interrupted)
    with pytest.raises(SystemExit, match="130"):
        main(["methods"])
    assert capsys.readouterr().err == "Interrupted.\n"


@pytest.mark.parametrize("command", ["train", "check"])
@pytest.mark.parametrize("words", [["--help"], [TINY, "--help"], ["--config", TINY, "-h"]])
def test_help_with_recipes_names_the_keys_wherever_it_is_asked_for(command: str, words: list[str], capsys) -> None:
    with pytest.raises(SystemExit, match="0"):
        main([command, *words])
    assert "objective_options (null)" in (out := capsys.readouterr().out) and f"usage: concise-rl {command}" in out


@pytest.mark.parametrize(
    "words",
    [["--config", "a.yaml", "--seed", "3"], ["--config=a.yaml", "--seed", "3"], ["--seed", "3", "--config", "a.yaml"]],
)
def test_a_recipe_may_be_named_as_for_accelerate(words: list[str]) -> None:
    arguments = build_parser().parse_args(arrange(["train", *words]))
    assert (arguments.recipe, arguments.overrides) == ("a.yaml", ["--seed", "3"])


@pytest.mark.parametrize(
    "words",
    [
        ["--gpus", "8x80", "a.yaml", "--seed", "3"],
        ["a.yaml", "--gpus", "8x80", "--seed", "3"],
        ["--config", "a.yaml", "--seed", "3", "--gpus=8x80"],
    ],
)
def test_gpus_may_stand_anywhere_in_a_check(words: list[str]) -> None:
    arguments = build_parser().parse_args(arrange(["check", *words, "--accelerate", "zero2.yaml"]))
    assert (arguments.recipe, arguments.overrides) == ("a.yaml", ["--seed", "3"])
    assert (arguments.gpus, arguments.accelerate) == ("8x80", "zero2.yaml")


def test_a_check_is_json_where_that_is_asked_for(capsys) -> None:
    main(["check", TINY, "--num_rows", "16", "--json", "--seed", "3"])
    shown = capsys.readouterr()
    found = json.loads(shown.out)
    assert (found["ok"], found["faults"], found["recipe"]) == (True, [], TINY) and "is fine" in shown.err
    assert found["facts"]["rollouts"] == "16 prompts x 8, at most 320 tokens each"


def test_a_check_that_fails_has_its_faults_as_json_and_in_the_exit_code(capsys) -> None:
    with pytest.raises(SystemExit, match=r"^error: "):
        main(["check", TINY, "--num_rows", "16", "--json", "--verifier", "nosuch"])
    found = json.loads(capsys.readouterr().out)
    assert not found["ok"] and "Unknown verifier 'nosuch'" in found["faults"][0]


def test_a_method_in_the_working_directory_is_found(tmp_path: Path, monkeypatch, capsys) -> None:
    (tmp_path / "of_my_own.py").write_text("from reward.grpo import Grpo\n\n\nclass Mine(Grpo):\n    pass\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path])
    main(["check", TINY, "--objective", "of_my_own.Mine", "--num_rows", "16"])
    assert "objective  of_my_own.Mine" in capsys.readouterr().out


def test_what_a_module_of_the_users_own_fails_to_import_is_not_blamed_on_its_name(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "broken_of_my_own.py").write_text("import no_such_package\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path])
    with pytest.raises(ModuleNotFoundError, match="No module named 'no_such_package'"):
        main(["check", TINY, "--objective", "broken_of_my_own.Mine", "--num_rows", "16"])


def test_overrides_may_follow_the_recipe() -> None:
    arguments = build_parser().parse_args(["train", TINY, "--seed", "3", "--objective_options.alpha", "0.1"])
    assert arguments.overrides == ["--seed", "3", "--objective_options.alpha", "0.1"]


def test_a_place_that_cannot_be_written_is_said_in_a_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SystemExit, match=r"^error: .*file/x cannot be used \(Not a directory\): give another place"):
        main(["sweep", TINY, "--out", str(tmp_path / "file" / "x")])
