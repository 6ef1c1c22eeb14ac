"""A sweep from its arguments to the comparison: check everything, train, measure, compare."""

import argparse
import contextlib
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from concise_rl.check import find_faults
from concise_rl.evaluate.run import evaluate
from concise_rl.evaluate.spec import EvalSpec, Measurement
from concise_rl.files import write_atomically
from concise_rl.findings import Findings
from concise_rl.preflight import find_packages
from concise_rl.sweep.compare import compare_runs
from concise_rl.sweep.jobs import Start, local_start, train_all
from concise_rl.sweep.launch import check_devices
from concise_rl.sweep.lock import locked
from concise_rl.sweep.measure import check_measurement, measurement_of, spec_of
from concise_rl.sweep.plan import Run, check_folders, plan_runs
from concise_rl.sweep.record import Record, merge, read_record
from concise_rl.sweep.show import Display, failures, plan_table
from concise_rl.sweep.slurm import Command, cluster_start, open_executor, read_options, submit


def run(args: argparse.Namespace) -> None:
    """Do what the command asks for. What an earlier, interrupted one has done is kept.

    Raises:
        ValueError: for what cannot be trained or measured, before anything is.
        SystemExit: with status 1, when a run has failed.
    """
    console = Console()
    words = [f"--{setting}" for setting in args.set]
    runs = plan_runs(args.recipes, args.seeds, args.out, words, args.accelerate, elsewhere=bool(args.slurm))
    jobs = find_jobs(args, runs)
    measurement = measurement_of(runs, args)
    record = merge(read_record(args.out), runs, measurement, args.out)
    check_folders(runs)
    todo = [run for run in runs if not run.is_trained]
    if args.dry_run:
        console.print(plan_table(runs, args.out))
        console.print(measured_by(measurement), highlight=False, soft_wrap=True)
    else:
        check_runs(todo, elsewhere=bool(args.slurm))
        check_measurement(measurement, runs[0].recipe)
        with locked(args.out) as lock, telling_how_to_go_on(args.out, console):
            sweep(args, runs, jobs, record, lock, console)


def find_jobs(args: argparse.Namespace, runs: Sequence[Run]) -> int:
    """How many runs train at a time.

    Raises:
        ValueError: when this machine has not the GPUs for that.
    """
    if args.jobs is not None and args.jobs < 1:
        raise ValueError(f"--jobs is {args.jobs}: give 1 or more.")
    jobs = args.jobs or (len(runs) if args.slurm else 1)
    gpus = max(run.launcher.gpus for run in runs)
    if gpus and not args.slurm:
        check_devices(gpus, jobs)
    return jobs


def measured_by(measurement: Measurement) -> str:
    """A measurement in a line."""
    count = "all" if measurement.problems is None else measurement.problems
    return (
        f"Then measured on {measurement.task} ({measurement.split}): {count} problems x {measurement.samples} samples, "
        f"at most {measurement.max_tokens} tokens, with {measurement.engine}."
    )


def check_runs(runs: Sequence[Run], elsewhere: bool) -> None:
    """Check each recipe that is still to be trained, the data once: they are the same for all.

    Raises:
        ValueError: with all that is wrong, a line each.
    """
    findings = Findings()
    first = {run.label: run for run in reversed(runs)}
    for number, run in enumerate(reversed(first.values())):
        own = Findings()
        find_packages(run.recipe, own, elsewhere=elsewhere)
        find_faults(run.recipe, own, data=number == 0)
        findings.faults += [f"{run.path}: {fault}" for fault in own.faults]
    findings.refuse()


@contextlib.contextmanager
def telling_how_to_go_on(out: Path, console: Console) -> Any:
    """Where Ctrl-C ends the sweep, say what becomes of it."""
    try:
        yield
    except KeyboardInterrupt:
        console.print(f"Stopped. The same command goes on: concise-rl {shlex.join(sys.argv[1:])}", soft_wrap=True)
        raise


def sweep(
    args: argparse.Namespace, runs: Sequence[Run], jobs: int, record: Record, lock: int, console: Console
) -> None:
    """Train what is missing, measure what is trained, compare.

    Raises:
        SystemExit: with status 1, when a run has failed.
    """
    options = read_options(args.slurm or [])
    executor = open_executor(args.out / "slurm", options) if args.slurm else None
    start: Start = cluster_start(executor, options, record, args.out) if executor else local_start(jobs, lock)
    train(runs, jobs, start, record, args.out, console)
    trained = [run for run in runs if run.is_trained]
    if trained:
        assert record.measurement is not None, "it has just been recorded"
        spec = spec_of(trained, record.measurement)
        if executor:
            evaluate_there(spec, args.out, executor)
        else:
            evaluate(spec, args.out / "eval")
        compare_runs(args.out, record, console)
    failed = failures(record)
    for line in failed:
        console.print(line, style="red", markup=False, highlight=False, soft_wrap=True)
    if failed:
        sys.exit(1)


def train(runs: Sequence[Run], jobs: int, start: Start, record: Record, out: Path, console: Console) -> None:
    """Train the runs that are not trained, and record what came of each."""
    for run in runs:
        if run.is_trained:
            record.runs[run.name].status = "trained"
    record.write(out)
    todo = [run for run in runs if not run.is_trained]
    if len(todo) < len(runs):
        console.print(f"{len(runs) - len(todo)} of {len(runs)} runs are trained already.", highlight=False)
    with Display(runs, record, out, jobs, console) as display:
        train_all(todo, jobs, start, display)


def evaluate_there(spec: EvalSpec, out: Path, executor: Any) -> None:
    """Evaluate in a job of the cluster, and wait for it.

    Raises:
        ValueError: when it fails.
    """
    file, log = out / "eval.spec.json", out / "eval.log"
    write_atomically(file, spec.model_dump_json(indent=2) + "\n")
    command = [sys.executable, "-m", "concise_rl.sweep.measure", str(file), str(out / "eval")]
    job = submit(executor, Command(command, log))
    print(f"Measuring in a job of the cluster: {log}")
    if job.wait() != 0:
        raise ValueError(f"The evaluation failed: see {log}. The same command tries again.")
