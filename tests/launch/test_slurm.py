"""launch/slurm/train.slurm, where srun runs what it is given on this machine."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.launch.cluster import ROOT, Checkout, ended, read_until
from tests.launch.hosts import below, kill

SLURM = ROOT / "launch/slurm/train.slurm"


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


def submit(checkout: Checkout, *arguments: str, **env: str) -> subprocess.Popen[str]:
    """Start the script as Slurm does, with a process on each of two nodes."""
    of_job = {"SLURM_JOB_ID": str(os.getpid()), "SLURM_SUBMIT_DIR": str(checkout.folder), "SLURM_JOB_NODELIST": "nodes"}
    ours = {"ACCELERATE_CONFIG": "cpu_zero3", "GPUS_PER_NODE": "1", "LAST_CALL": "60"}
    return checkout.start("bash", str(SLURM), *arguments, **of_job, **(ours | env))


def requeued(checkout: Checkout) -> bool:
    return f"scontrol requeue {os.getpid()}\n" in checkout.calls


def test_the_slurm_script_explains_itself() -> None:
    result = subprocess.run(["bash", str(SLURM), "--help"], capture_output=True, text=True, check=True)
    assert "sbatch [SBATCH OPTIONS] launch/slurm/train.slurm RECIPE" in result.stdout
    assert "#SBATCH" not in result.stdout


def test_the_slurm_script_refuses_to_run_outside_slurm() -> None:
    env = {key: value for key, value in os.environ.items() if not key.startswith("SLURM_")}
    result = subprocess.run(["bash", str(SLURM), "recipe.yaml"], env=env, capture_output=True, text=True)
    assert result.returncode == 2
    assert "sbatch" in result.stderr


@pytest.mark.slow
def test_the_slurm_script_starts_one_world_over_all_nodes(checkout: Checkout) -> None:
    result = ended(submit(checkout, "recipe.yaml", "--output_dir", "runs/with a space"))
    assert result.returncode == 0, result.stderr
    arguments = "['--config', 'recipe.yaml', '--output_dir', 'runs/with a space']"
    for rank in (0, 1):
        assert f"rank {rank} of 2, deepspeed true, settings launch/deepspeed/zero3.json" in result.stdout
    assert result.stdout.count(f"network lo lo 127.0.0.1 {arguments}") == 2
    assert "START job" in result.stdout and "END job" in result.stdout
    assert not requeued(checkout)


@pytest.mark.slow
def test_the_slurm_script_fails_when_one_node_fails(checkout: Checkout) -> None:
    result = ended(submit(checkout, "recipe.yaml", "--fail"))
    assert "rank 1 of 2" in result.stdout
    assert result.returncode == 1
    assert "exit status 1" in result.stdout
    assert not requeued(checkout)


def test_the_slurm_script_names_a_network_interface_that_is_not_there(checkout: Checkout) -> None:
    result = ended(submit(checkout, "recipe.yaml", NETWORK_INTERFACE="ib7"))
    assert result.returncode == 2
    assert "has no address on NETWORK_INTERFACE=ib7" in result.stderr


def test_the_slurm_script_names_a_recipe_that_is_not_there(checkout: Checkout) -> None:
    result = ended(submit(checkout, "nowhere.yaml"))
    assert result.returncode == 2
    assert "There is no nowhere.yaml" in result.stderr


def test_some_nodes_serve(checkout: Checkout) -> None:
    checkout.program("accelerate", 'echo "accelerate $*"')
    result = ended(submit(checkout, "recipe.yaml", SERVER_NODES="1", NODES="a b c", SERVER_FLAGS="--max-model-len 9"))
    assert result.returncode == 0, result.stderr
    assert (
        "concise-rl serve --host 0.0.0.0 --port 8000 some/model --tensor-parallel-size 1 --max-model-len 9"
        in result.stdout
    )
    assert result.stdout.count("--num_machines 2 ") == 2 and "--vllm_server_base_url http://c:8000" in result.stdout
    assert [word for word in checkout.calls.split() if word.startswith("--nodelist")] == [
        f"--nodelist={host}" for host in "cab"
    ]


def test_before_the_time_limit_a_checkpoint_is_made_and_the_job_goes_back_into_the_queue(checkout: Checkout) -> None:
    checkout.works_until_told()
    job = submit(checkout, "recipe.yaml")
    read_until(job, "at work", times=2)
    assert not requeued(checkout)
    job.send_signal(signal.SIGUSR1)
    result = ended(job, 40)
    assert result.returncode == 75 and requeued(checkout)
    assert "back into the queue: the training goes on" in result.stdout


def test_a_step_that_takes_too_long_does_not_keep_the_job_from_the_queue(checkout: Checkout) -> None:
    checkout.program("accelerate", "echo at work; exec sleep 60")
    job = submit(checkout, "recipe.yaml", LAST_CALL="1")
    read_until(job, "at work", times=2)
    job.send_signal(signal.SIGUSR1)
    deadline = time.monotonic() + 20
    while not requeued(checkout) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert requeued(checkout)
    kill(below(job))
