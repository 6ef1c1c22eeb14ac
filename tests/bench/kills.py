"""Kill a run again and again at random moments, and compare its end with that of the run that nobody killed.

    python -m tests.bench.kills OUT --kills 50
    python -m tests.bench.kills OUT --kills 50 --recipe recipes/tiny/sft.yaml --max_steps 400

Each line is a kill: the last step that was logged, the checkpoint that is left, the steps lost. Exits with 1 where a
kill cost more than the steps since the last save, or the end differs. Each start is a fork of this process, which has
imported all that a training does, and nothing else: imports take longer than all that is killed.
"""

import argparse
import itertools
import os
import random
import signal
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.context import ForkProcess
from pathlib import Path
from typing import Any

import concise_rl.train.__main__
import concise_rl.train.trainer
from concise_rl.files import MARKER, read_lines
from concise_rl.train.checkpoint import complete_steps, saved_steps
from tests.concise_rl.train.test_resume import steps_of

SETTINGS: dict[str, Any] = {
    **{"max_steps": 200, "save_strategy": "steps", "save_steps": 2, "save_total_limit": 2, "logging_steps": 1},
    **{"num_rows": 64, "per_device_train_batch_size": 8, "max_completion_length": 48},
    **{"disable_tqdm": True, "page_every": 0, "record_steps": 0},
}
OF_ROLLOUTS = ("max_completion_length", "page_every", "record_steps")
EARLY = 5
"""One kill in so many comes while the run starts."""


@dataclass(frozen=True)
class Kill:
    """What one has cost.

    Attributes:
        logged: the last step in metrics.jsonl.
        complete: the step of the newest complete checkpoint; 0 without one.
    """

    logged: int
    complete: int

    @property
    def lost(self) -> int:
        """Steps that the next start makes again."""
        return self.logged - self.complete


def start(recipe: str, folder: Path, settings: dict[str, Any]) -> ForkProcess:
    """Start the training, in a process group of its own, behind what its log has."""
    words = [word for key, value in settings.items() for word in (f"--{key}", str(value))]
    argv = ["--config", recipe, "--output_dir", str(folder), *words]
    run = get_context("fork").Process(target=train, args=(folder.with_suffix(".log"), argv))
    run.start()
    os.setpgid(run.ident or 0, 0)
    return run


def train(log: Path, argv: Sequence[str]) -> None:
    """Train, in the process that was started."""
    with log.open("a") as file:
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)
    concise_rl.train.__main__.main([*argv])


def finish(recipe: str, folder: Path, settings: dict[str, Any]) -> float:
    """Let it make all its steps. Returns the seconds of the median step."""
    run = start(recipe, folder, settings)
    run.join()
    if run.exitcode or not (folder / MARKER).is_file():
        sys.exit(f"The run has failed: {folder.with_suffix('.log')}")
    times = [line["unix_time"] for line in read_lines(folder / "metrics.jsonl") if "loss" in line]
    return statistics.median(b - a for a, b in itertools.pairwise(times))


def kill_once(recipe: str, folder: Path, settings: dict[str, Any], delay: float, early: bool) -> Kill | None:
    """Start it, and kill it some seconds after it has begun to save, or has started. None where it was at its end."""
    before = saved_steps(folder)[-1:]
    run = start(recipe, folder, settings)
    while not early and run.is_alive() and saved_steps(folder)[-1:] == before:
        time.sleep(0.01)
    time.sleep(delay)
    if not run.is_alive():
        return None
    os.killpg(run.ident or 0, signal.SIGKILL)
    run.join()
    logged = [line["step"] for line in read_lines(folder / "metrics.jsonl")]
    return Kill(max(logged, default=0), max(complete_steps(folder), default=0))


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="a new folder for the runs and their logs")
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--recipe", default="recipes/tiny/grpo_lambda.yaml")
    parser.add_argument("--max_steps", type=int, default=SETTINGS["max_steps"])
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    args = parser.parse_args(argv)
    args.out.mkdir(parents=True)
    settings = SETTINGS | {"max_steps": args.max_steps}
    if "sft" in args.recipe:
        settings = {key: value for key, value in settings.items() if key not in OF_ROLLOUTS}
    whole, broken = args.out / "whole", args.out / "killed"
    seconds = finish(args.recipe, whole, settings)
    kills = kill_often(args.recipe, broken, settings, args.kills, seconds, random.Random(args.seed))
    finish(args.recipe, broken, settings)
    alike = numbers_of(whole) == numbers_of(broken)
    same = (whole / "model.safetensors").read_bytes() == (broken / "model.safetensors").read_bytes()
    worst = max(kill.lost for kill in kills)
    print(f"{len(kills)} kills, at most {worst} steps lost by one, {sum(kill.lost for kill in kills)} by all")
    print(f"numbers of all steps as in the unbroken run: {alike}; weights to the bit: {same}")
    sys.exit(not (alike and same and len(kills) == args.kills and worst <= settings["save_steps"]))


def numbers_of(folder: Path) -> list[dict[str, Any]]:
    """Metrics of every step but those of a process, to which the tokens belong where TRL counts them by itself."""
    steps = steps_of(folder / "metrics.jsonl")
    of_rollouts = all("correct/mean" in step for step in steps)
    return [{key: step[key] for key in step if of_rollouts or key != "num_tokens"} for step in steps]


def kill_often(
    recipe: str, folder: Path, settings: dict[str, Any], times: int, seconds: float, rng: random.Random
) -> list[Kill]:
    """Kill it so many times, where it does not come to its end before."""
    kills: list[Kill] = []
    for number in range(times):
        early = number % EARLY == EARLY - 1
        delay = rng.uniform(0, 8 * seconds if early else (settings["save_steps"] + 1) * seconds)
        kill = kill_once(recipe, folder, settings, delay, early)
        if kill is None:
            print(f"The run was at its end after {number} kills: give it more steps.")
            break
        kills.append(kill)
        print(f"{number + 1:>3}: step {kill.logged} logged, checkpoint-{kill.complete}, {kill.lost} lost", flush=True)
    return kills


if __name__ == "__main__":
    main()
