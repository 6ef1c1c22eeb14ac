"""Take a sweep from its arguments to the comparison: check everything, train, measure, compare."""

import argparse
import contextlib
import shlex
import sys
from collections.abc import Generator, Sequence
from pathlib import Path

from rich.console import Console

from concise_rl.errors import unknown
from concise_rl.evaluate.compare import compare
from concise_rl.evaluate.compare.cli import show
from concise_rl.evaluate.compare.failed import FailedRun
from concise_rl.evaluate.run import evaluate
from concise_rl.evaluate.spec import BASELINE, MANIFEST, Measurement, read_manifest
from concise_rl.files import write_atomically
from concise_rl.output.lines import console_for, print_json, print_next, say
from concise_rl.recipe.check import find_faults
from concise_rl.recipe.findings import Findings
from concise_rl.recipe.preflight import find_packages
from concise_rl.sweep.jobs import Start, local_start, train_all
from concise_rl.sweep.launch import check_devices
from concise_rl.sweep.lock import locked
from concise_rl.sweep.measure import check_measurement, measurement_of, spec_of
from concise_rl.sweep.plan import Run, check_folders, plan_runs, state_of
from concise_rl.sweep.process import Command
from concise_rl.sweep.progress import last_error
from concise_rl.sweep.record import Record, merge, read_record
from concise_rl.sweep.show import Display, plan_table
from concise_rl.sweep.slurm import Cluster, cluster_start


def run(args: argparse.Namespace, command: str) -> None:
    """Do what the command asks for. What an earlier, interrupted one has done is kept.

    Args:
        args: of the command.
        command: these as words, to be recorded.

    Raises:
        ValueError: for what cannot be trained or measured, before anything is.
        SystemExit: with status 1, when a run has failed.
    """
    console = console_for(args.json)
    words = [f"--{setting}" for setting in args.set]
    runs = plan_runs(args.recipes, args.seeds, args.out, words, args.accelerate, elsewhere=bool(args.slurm))
    jobs = find_jobs(args, runs)
    measurement = measurement_of(runs, args)
    record = merge(read_record(args.out), runs, measurement, args.out)  # says what is wrong before a folder is made
    check_pairs(args.pair, record)
    check_folders(runs)
    if args.dry_run:
        show_plan(runs, measurement, args.out, args.json)
        return
    with locked(args.out) as lock:
        record = merge(read_record(args.out), runs, measurement, args.out, command)
        with telling_how_to_go_on(record, console):
            sweep(args, runs, jobs, record, lock, console)


def sweep(
    args: argparse.Namespace, runs: Sequence[Run], jobs: int, record: Record, lock: int, console: Console
) -> None:
    """Check what is to be trained, train it, measure and compare.

    Raises:
        ValueError, SystemExit: as `run` does.
    """
    cluster = Cluster.open(args.out / "slurm", args.slurm) if args.slurm else None
    check_runs([run for run in runs if not run.is_trained], elsewhere=cluster is not None)
    assert record.measurement is not None, "it has just been recorded"
    check_measurement(record.measurement, runs[0].recipe, elsewhere=cluster is not None)
    start = cluster_start(cluster, record, args.out) if cluster else local_start(jobs, lock)
    train(runs, jobs, start, record, args.out, console)
    measure(runs, record.measurement, args.out, cluster, console)
    conclude(runs, record, args)


def find_jobs(args: argparse.Namespace, runs: Sequence[Run]) -> int:
    """Decide how many runs train at a time.

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


def check_pairs(pairs: Sequence[Sequence[str]], record: Record) -> None:
    """
    Raises:
        ValueError: when a chosen pair names no recipe of the sweep, nor its base model.
    """
    for name in (name for pair in pairs for name in pair):
        if name not in record.recipes and name != BASELINE:
            raise unknown("recipe of --pair", name, [BASELINE, *record.recipes])


def show_plan(runs: Sequence[Run], measurement: Measurement, out: Path, as_json: bool) -> None:
    """Print what there is to do."""
    if as_json:
        states = {run.name: {"recipe": str(run.path), "state": state_of(run), "steps": run.steps} for run in runs}
        print_json({"runs": states, "measurement": measurement.model_dump()})
    console, count = console_for(as_json), "all" if measurement.problems is None else measurement.problems
    console.print(plan_table(runs, out))
    say(
        console,
        f"Then measured on {measurement.task} ({measurement.split}): {count} problems x {measurement.samples} samples, "
        f"at most {measurement.max_tokens} tokens, with {measurement.engine}.",
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
def telling_how_to_go_on(record: Record, console: Console) -> Generator[None]:
    """Say what to do where Ctrl-C ends the sweep."""
    try:
        yield
    except KeyboardInterrupt:
        queued = [state.job for state in record.runs.values() if state.job and state.status == "running"]
        if queued:
            say(console, f"Their jobs go on. To end them, too: scancel {' '.join(queued)}")
        say(console, f"Stopped. The same command goes on: {shlex.join(['concise-rl', *sys.argv[1:]])}")
        raise


def train(runs: Sequence[Run], jobs: int, start: Start, record: Record, out: Path, console: Console) -> None:
    """Train the runs that are not trained, and record what came of each."""
    for run in runs:
        if run.is_trained:
            record.runs[run.name].status = "trained"
    record.write(out)
    todo = [run for run in runs if not run.is_trained]
    if len(todo) < len(runs):
        say(console, f"{len(runs) - len(todo)} of {len(runs)} runs are trained already.")
    if not todo:
        return
    with Display(runs, record, out, jobs, console) as display:
        train_all(todo, jobs, start, display)


def measure(
    runs: Sequence[Run], measurement: Measurement, out: Path, cluster: Cluster | None, console: Console
) -> None:
    """Evaluate what is trained, and the base model.

    Raises:
        ValueError: when it cannot be evaluated.
    """
    trained = [run for run in runs if run.is_trained]
    if not trained:
        return
    spec = spec_of(trained, measurement)
    if cluster is None:
        evaluate(spec, out / "eval")
        return
    file, log = out / "eval.spec.json", out / "eval.log"
    write_atomically(file, spec.model_dump_json(indent=2) + "\n")
    say(console, f"Measuring in a job of the cluster: {log}")
    command = [sys.executable, "-m", "concise_rl.sweep.measure", str(file), str(out / "eval")]
    gpus = min(1, max(run.launcher.gpus for run in runs))
    if cluster.submit(Command(command, log), gpus).wait() != 0:
        raise ValueError(f"The evaluation failed, {last_error(log)}. See {log}; the same command tries again.")


def conclude(runs: Sequence[Run], record: Record, args: argparse.Namespace) -> None:
    """Compare what is measured, and name what failed. A chosen pair of which nothing is measured yet is left out.

    Raises:
        SystemExit: with status 1, when one of these runs has failed.
    """
    out, console = args.out, console_for(args.json)
    failed = [
        FailedRun(state.label, state.seed, state.error or "")
        for state in record.runs.values()
        if state.status == "failed"
    ]
    if (out / "eval" / MANIFEST).is_file():
        measured = {run.label for run in read_manifest(out / "eval").runs}
        pairs = [(first, second) for first, second in args.pair if {first, second} <= measured]
        for pair in args.pair:
            if not {*pair} <= measured:
                say(console, f"--pair {' '.join(pair)}: not shown, {' and '.join({*pair} - measured)} is not measured.")
        found = compare([out / "eval"], out, failed=failed, pairs=pairs, made_by=record.commands)
        if args.json:
            print_json(found.report)
        show(found, to_stderr=args.json)
        words = ["concise-rl", "compare", str(out / "eval"), *(word for pair in pairs for word in ("--pair", *pair))]
        print_next(console, [(shlex.join([*words, "--markdown"]), "the tables for a README")])
    if any(record.runs[run.name].status == "failed" for run in runs):
        sys.exit(1)
