import importlib.metadata
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from concise_rl.tasks.tiny import SHIPPED, TRAINED

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def pins() -> dict[str, str]:
    lines = (ROOT / "launch/constraints.txt").read_text().splitlines()
    named = (line.split("==") for line in lines if line and not line.startswith("#"))
    return {canonicalize_name(name): version for name, version in named}


def requirements(*extras: str) -> list[Requirement]:
    optional = PROJECT["optional-dependencies"]
    return [Requirement(line) for line in [*PROJECT["dependencies"], *(line for e in extras for line in optional[e])]]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The names of the files in a wheel built from this checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=60)
    return set(zipfile.ZipFile(next(folder.glob("*.whl"))).namelist())


@pytest.mark.parametrize("package", ["concise_rl", "reward"])
def test_the_wheel_carries_every_file_of_the_packages(package: str, wheel: set[str]) -> None:
    """Weights and templates too."""
    files = [path for path in (ROOT / package).rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    assert files
    assert {path.relative_to(ROOT).as_posix() for path in files} <= wheel


def test_the_wheel_carries_the_weights_and_the_cards_of_the_reasoners_that_ship(wheel: set[str]) -> None:
    for name in SHIPPED:
        folder = f"concise_rl/tasks/tiny/weights/{name.removeprefix('tiny:')}"
        assert {f"{folder}/model.safetensors", f"{folder}/config.json", f"{folder}/tokenizer.json"} <= wheel
    assert all(f"concise_rl/tasks/tiny/weights/{name.removeprefix('tiny:')}/README.md" in wheel for name in TRAINED)


def test_the_wheel_carries_nothing_else(wheel: set[str]) -> None:
    tops = {name.split("/")[0] for name in wheel}
    assert tops == {"concise_rl", "reward", f"concise_rl-{PROJECT['version']}.dist-info"}


def test_the_pinned_set_has_one_version_within_the_range_of_every_requirement() -> None:
    pinned = pins()
    for requirement in requirements("dev", "deepspeed"):
        assert pinned[canonicalize_name(requirement.name)] in requirement.specifier, requirement


def test_the_pinned_set_is_closed() -> None:
    """Nothing that is installed below a direct requirement is left to what an index has newest that day."""
    pinned, todo = pins(), [canonicalize_name(r.name) for r in requirements("dev", "deepspeed")]
    seen: set[str] = set()
    while todo:
        name = todo.pop()
        if name in seen or name == "setuptools":
            continue
        seen.add(name)
        below = [Requirement(line) for line in importlib.metadata.requires(name) or []]
        todo += [canonicalize_name(r.name) for r in below if not r.marker or r.marker.evaluate({"extra": ""})]
    unpinned = {name for name in seen - pinned.keys() if not re.match(r"nvidia-|cuda-|triton$", name)}
    assert not unpinned


def test_pre_commit_runs_the_pinned_ruff() -> None:
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    revisions = {repo["repo"].rsplit("/", 1)[1]: repo["rev"] for repo in hooks}
    assert revisions["ruff-pre-commit"] == f"v{pins()['ruff']}"


def test_the_command_is_there() -> None:
    (module, function) = PROJECT["scripts"]["concise-rl"].split(":")
    assert callable(getattr(importlib.import_module(module), function))
