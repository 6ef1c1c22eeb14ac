"""The script of the SmolLM2 series: what it runs, and that it goes on where it was cut."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from concise_rl.cli.parser import build_parser
from concise_rl.evaluate.cli import spec_of
from concise_rl.recipe.parse import parse_recipe

ROOT = Path(__file__).parents[1]
METHODS = ["grpo", "grpo_lambda", "s_grpo", "decs"]
COMPLETES = """
folder=; while [[ $# -gt 0 ]]; do [[ $1 != --output_dir ]] || folder=$2; shift; done
[[ -z $folder ]] || { mkdir -p "$folder"; touch "$folder/COMPLETE"; }
"""
Series = Callable[..., list[str]]


@pytest.fixture
def series(tmp_path: Path) -> Series:
    """Run the script beside a `concise-rl` that completes each run; gives the commands it was called with."""
    (tmp_path / "launch").mkdir()
    (tmp_path / "launch/smollm2.sh").write_bytes((ROOT / "launch/smollm2.sh").read_bytes())
    program = tmp_path / ".venv/bin/concise-rl"
    program.parent.mkdir(parents=True)
    program.write_text(f'#!/bin/bash\necho "$*"\n{COMPLETES}')
    program.chmod(0o755)

    def run(*arguments: str, **env: str) -> list[str]:
        command = ["bash", str(tmp_path / "launch/smollm2.sh"), *arguments]
        result = subprocess.run(command, env=os.environ | env, capture_output=True, text=True, timeout=60, check=True)
        return result.stdout.splitlines()

    return run


def trained(commands: list[str]) -> list[str]:
    return [Path(line.split()[1]).stem for line in commands if line.startswith("train")]


def test_the_series_trains_the_start_and_each_method_and_evaluates_three_ways(series: Series) -> None:
    commands = series()
    assert trained(commands) == ["sft", *METHODS]
    assert [line.split("--task ")[1].split()[0] for line in commands if line.startswith("eval")] == [
        "reasoning:problems",
        "reasoning:larger",
        "reasoning:unseen",
    ]


def test_its_commands_are_understood(series: Series, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)  # where its models are
    for name in ["sft", *(f"{method}-0" for method in METHODS)]:
        (tmp_path / "runs/smollm2-135m" / name).mkdir(parents=True)
        (tmp_path / "runs/smollm2-135m" / name / "config.json").write_text("{}")
    for line in series(str(tmp_path)):
        words = line.split()
        if words[0] == "train":
            recipe = parse_recipe(ROOT / words[1], [*words[2:], "--bf16", "false", "--use_cpu", "true"])
            assert recipe.folder.startswith("runs/smollm2-135m/")
        else:
            assert spec_of(build_parser().parse_args(words)).measurement.verifier == "reasoning_gym"


def test_another_start_is_handed_to_the_first_recipe_alone(series: Series) -> None:
    first, *others = (line for line in series("models/start") if line.startswith("train"))
    assert "--model_name_or_path models/start" in first
    assert all("--model_name_or_path runs/smollm2-135m/sft" in line for line in others)


def test_seeds_of_a_method_share_a_label(series: Series) -> None:
    commands = series(SEEDS="0 1", METHODS="grpo")
    assert trained(commands) == ["sft", "grpo", "grpo"]
    assert "--model grpo=runs/smollm2-135m/grpo-0 --model grpo=runs/smollm2-135m/grpo-1" in commands[-1]


def test_what_is_complete_is_not_started_again(series: Series, tmp_path: Path) -> None:
    series()
    (tmp_path / "runs/smollm2-135m/s_grpo-0/COMPLETE").unlink()
    assert trained(series()) == ["s_grpo"]
