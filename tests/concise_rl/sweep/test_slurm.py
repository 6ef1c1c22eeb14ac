"""Jobs of a cluster, on submitit's own executor for a single machine."""

import sys
from pathlib import Path

import pytest

from concise_rl.sweep.jobs import train_all
from concise_rl.sweep.plan import Run
from concise_rl.sweep.process import Command
from concise_rl.sweep.record import Record, State
from concise_rl.sweep.slurm import Cluster, cluster_start, read_options
from tests.concise_rl.sweep.small import planned
from tests.concise_rl.sweep.test_jobs import Notes

LOCAL = ["cluster=local", "timeout_min=5"]


def test_runs_are_jobs_that_write_their_logs_and_tell_how_they_ended(tmp_path: Path, monkeypatch) -> None:
    runs = planned(tmp_path, "grpo", "s_grpo")
    record = Record(runs={run.name: State(label=run.label, seed=run.seed) for run in runs})
    code = "import sys; print('begun'); sys.exit(sys.argv[1] == 's_grpo')"
    monkeypatch.setattr(Run, "command", property(lambda run: [sys.executable, "-c", code, run.label]))
    notes = Notes()
    train_all(runs, 2, cluster_start(Cluster.open(tmp_path / "slurm", LOCAL), record, tmp_path), notes)
    assert notes.ends == {"grpo-0": 0, "s_grpo-0": 1}
    assert all(run.log.read_text().endswith("\nbegun\n") for run in runs)
    assert all(state.job for state in record.runs.values())


def test_a_job_that_runs_out_of_time_is_submitted_again_as_it_was(tmp_path: Path) -> None:
    again = Command(["true"], tmp_path / "a.log").checkpoint()
    assert again.function.command == ["true"] and again.function.log == tmp_path / "a.log"


def test_options_are_read_as_yaml() -> None:
    assert read_options(["timeout_min=60", "slurm_partition=gpu"]) == {"timeout_min": 60, "slurm_partition": "gpu"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["gpu"], "--slurm gpu: give key=value"),
        (["slurm_partition=gpu"], "say how many minutes a run may take"),
        ([*LOCAL, "local_nonsense=1"], "--slurm: Unknown argument 'nonsense'"),
        (["cluster=local", "timeout_min=long"], '--slurm: Parameter "timeout_min" expected type'),
        (["timeout_min=3"], '--slurm: Could not detect "srun"'),
    ],
)
def test_what_a_cluster_cannot_take_is_refused_in_a_line(words: list[str], said: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=said) as refused:
        Cluster.open(tmp_path, words)
    assert "\n" not in str(refused.value)


def test_without_submitit_it_is_said_what_to_install(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(ValueError, match=r"pip install \"concise_rl\[slurm\]\""):
        Cluster.open(tmp_path, LOCAL)
