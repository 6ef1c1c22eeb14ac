"""The scripts that make the models which ship: what they run, and what they put where."""

import os
import subprocess
from pathlib import Path

import pytest

from concise_rl.cli.parser import build_parser
from concise_rl.models.smollm2 import MODELS as SMOLLM2
from concise_rl.recipe.parse import parse_recipe
from concise_rl.tasks.tiny import SHIPPED

ROOT = Path(__file__).parents[1]
STAND_IN = """#!/bin/bash
printf '%s\\037' "$@" && echo
while [[ $# -gt 0 ]]; do
    case $1 in
        release) name=README.md ;;
        train) name=COMPLETE ;;
        --out | --output_dir) mkdir -p "$2" && touch "$2/${name:-report.json}" ;;
    esac
    shift
done
"""


def commands(script: str, folder: Path, **env: str) -> list[list[str]]:
    """Run a script in a copy of its surroundings, beside a `concise-rl` that prints how it is called."""
    (folder / "launch").mkdir()
    (folder / "launch" / script).write_bytes((ROOT / "launch" / script).read_bytes())
    program = folder / ".venv/bin/concise-rl"
    program.parent.mkdir(parents=True)
    program.write_text(STAND_IN)
    program.chmod(0o755)
    (folder / "runs/smollm2-135m/start").mkdir(parents=True)
    (folder / "runs/smollm2-135m/start/config.json").touch()
    for name in (*SHIPPED, *SMOLLM2):
        (folder / weights_of(name)).mkdir(parents=True)
    words = ["bash", str(folder / "launch" / script)]
    done = subprocess.run(words, env=os.environ | env, capture_output=True, text=True, timeout=60, check=True)
    return [line.removesuffix("\037").split("\037") for line in done.stdout.splitlines()]


def weights_of(name: str) -> str:
    family, _, short = name.partition(":")
    room = {"tiny": "concise_rl/tasks/tiny", "smollm2": "concise_rl/models/smollm2"}[family]
    return f"{room}/weights/{short}"


@pytest.mark.parametrize(
    ("script", "names", "env"),
    [
        ("tiny_models.sh", SHIPPED, {}),
        ("tiny_models.sh", SHIPPED, {"RUNS": "0"}),
        ("smollm2_cpu.sh", SMOLLM2, {}),
    ],
)
def test_every_model_that_ships_is_released_with_its_numbers(
    script: str, names: tuple[str, ...], env: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = commands(script, tmp_path, **env)
    monkeypatch.chdir(ROOT)
    last = {}
    for words in run:
        if words[0] == "train":
            parse_recipe(ROOT / words[1], words[2:])
            continue
        args = build_parser().parse_args(words)
        if words[0] == "release":
            last[args.name] = args
    assert {*last} == {*names} and all(args.report and args.about for args in last.values())
    assert all((tmp_path / weights_of(name) / "README.md").is_file() for name in names)
    assert ("train" in {words[0] for words in run}) == (env.get("RUNS") != "0")
