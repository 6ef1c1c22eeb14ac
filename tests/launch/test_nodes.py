"""launch/nodes.sh: training on several machines over ssh. Here ssh runs what it is given on this machine."""

import signal
import time
from pathlib import Path

import psutil
import pytest

from tests.launch.cluster import Checkout, ended, read_until

NODES = ("bash", "launch/nodes.sh", "--gpus", "1", "--config", "cpu_zero3")


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


def survivors(checkout: Checkout) -> list[str]:
    """What was started in the checkout and still runs."""
    found = [p.info for p in psutil.process_iter(["cwd", "cmdline", "status"])]
    return [" ".join(p["cmdline"]) for p in found if p["cwd"] == str(checkout.folder) and p["status"] != "zombie"]


def test_help_says_how_it_is_called(checkout: Checkout) -> None:
    result = ended(checkout.start("bash", "launch/nodes.sh", "--help"))
    assert "bash launch/nodes.sh [OPTIONS] HOST HOST ... -- RECIPE [--key value ...]" in result.stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["one", "two"], "say which recipe to run"),
        (["one", "--", "nowhere.yaml"], "there is no nowhere.yaml in"),
        (["--servers", "1", "one", "--", "recipe.yaml"], "leaves none to train on"),
        (["--config", "zero9", "one", "--", "recipe.yaml"], "there is no launch/accelerate/zero9.yaml"),
    ],
)
def test_what_is_wrong_with_a_command_is_said_before_anything_starts(
    checkout: Checkout, words: list[str], message: str
) -> None:
    result = ended(checkout.start("bash", "launch/nodes.sh", *words))
    assert result.returncode == 2 and message in result.stderr and not checkout.calls


@pytest.mark.slow
def test_hosts_make_one_world_and_arguments_arrive_as_they_are(checkout: Checkout) -> None:
    given = ("127.0.0.1", "127.0.0.1", "--", "recipe.yaml", "--output_dir", "runs/with a space")
    result = ended(checkout.start(*NODES, "--port", "29533", *given))
    assert result.returncode == 0, result.stderr
    for rank in (0, 1):
        assert f"rank {rank} of 2, deepspeed true, settings launch/deepspeed/zero3.json" in result.stdout
    arguments = "['--config', 'recipe.yaml', '--output_dir', 'runs/with a space']"
    assert result.stdout.count(f"network lo lo 127.0.0.1 {arguments}") == 2
    assert not survivors(checkout)


def test_the_last_hosts_serve_and_trainers_are_told_where(checkout: Checkout) -> None:
    checkout.program("accelerate", 'echo "accelerate $*"')
    flags = ("--servers", "2", "--server-flags", "--max-model-len 512")
    given = ("--", "recipe.yaml", "--vllm_max_model_length", "512")
    result = ended(checkout.start(*NODES, *flags, "one", "two", "three", *given, HF_TOKEN="secret"))
    assert result.returncode == 0, result.stderr
    urls = "--use_vllm true --vllm_mode server --vllm_server_base_url http://two:8000,http://three:8000"
    (trainer,) = [line for line in result.stdout.splitlines() if line.startswith("accelerate")]
    assert "--num_machines 1 --machine_rank 0 --num_processes 1 --main_process_ip one" in trainer
    assert trainer.endswith(f"--config recipe.yaml --vllm_max_model_length 512 {urls}")
    served = "concise-rl serve --host 0.0.0.0 --port 8000 some/model --tensor-parallel-size 1 --max-model-len 512"
    assert result.stdout.count(served) == 2 and "secret" not in checkout.calls
    assert not survivors(checkout), "servers end with the training"


@pytest.mark.slow
@pytest.mark.parametrize("who", ["trainer", "server"])
def test_what_ends_on_one_host_ends_all(checkout: Checkout, who: str) -> None:
    checkout.works_until_told()
    if who == "server":
        checkout.program("concise-rl", "exit 0")
    else:
        checkout.program("accelerate", "[[ $* != *'--machine_rank 1'* ]] || exit 3; exec sleep 60")
    began = time.monotonic()
    result = ended(checkout.start(*NODES, "--servers", "1", "one", "two", "three", "--", "recipe.yaml"))
    host, status = ("two", 3) if who == "trainer" else ("three", 0)
    assert f"the {who} on {host} has ended with status {status}: all end" in result.stderr
    assert result.returncode == (status or 1) and time.monotonic() - began < 40
    assert not survivors(checkout)


def test_a_signal_stops_the_trainers_in_order_and_the_status_says_that_there_is_more(checkout: Checkout) -> None:
    checkout.works_until_told()
    process = checkout.start(*NODES, "--servers", "1", "one", "two", "three", "--", "recipe.yaml")
    read_until(process, "at work", times=2)
    process.send_signal(signal.SIGUSR1)
    assert ended(process, 30).returncode == 75
    assert not survivors(checkout)


def test_when_it_is_killed_nothing_is_left_on_the_hosts(checkout: Checkout) -> None:
    checkout.works_until_told()
    process = checkout.start(*NODES, "one", "two", "--", "recipe.yaml")
    read_until(process, "at work", times=2)
    process.kill()
    deadline = time.monotonic() + 30
    while survivors(checkout) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not survivors(checkout)
