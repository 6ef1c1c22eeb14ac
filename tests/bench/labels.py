"""Time of labelling the rollouts of a training step, against the whole step.

    python -m tests.bench.labels [--repeats 5]

Each step samples with the transformers engine and trains, and its rollouts are labelled behind it: by the rule, on
chunks as DECS has it and on sentences as LC-R1, and by the oracle. Medians, least and greatest; the share is that of a
step which labels, pair by pair. The first step warms up. `--threads 2` for both of two cores; one thread otherwise.
"""

import argparse
import statistics
import time

import torch

from concise_rl.labels.labeller import Labeller, PassageKind, build_labeller
from concise_rl.train.trainer import ConciseTrainer
from tests.bench.step import CAP, ROWS, Stepper, ours, spread

SIDES: tuple[tuple[PassageKind, str], ...] = (("chunk", "rule"), ("sentence", "rule"), ("chunk", "oracle"))


def label(labeller: Labeller, trainer: ConciseTrainer) -> float:
    """Label the rollouts of the last step. Returns seconds."""
    judged = trainer.credited.judged
    completions = [rollout.ids for rollout in judged.rollouts]
    began = time.perf_counter()
    labeller.label(judged.rows, completions, judged.traces, judged.verdicts)
    return time.perf_counter() - began


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    print(f"{ROWS} rows, cap {CAP}, {args.threads} thread(s), {args.repeats} repeats")
    trainer = ours()
    labellers = {
        side: build_labeller(*side, None, trainer.delimiters, trainer.processing_class, trainer.verifier)
        for side in SIDES
    }
    stepper, steps = Stepper(trainer), []
    seconds: dict[tuple[str, str], list[float]] = {side: [] for side in SIDES}
    for repeat in range(-1, args.repeats):
        steps.append(stepper.step())
        for side, labeller in labellers.items():
            seconds[side].append(label(labeller, trainer))
            if repeat < 0:
                labeller.reset_counters()
    print(f"{'step without labels':24} {spread(steps[1:])} s")
    for side, labeller in labellers.items():
        shares = [100 * own / (own + step) for own, step in zip(seconds[side][1:], steps[1:], strict=True)]
        read = labeller.counters["passages"] / args.repeats
        title = f"{side[1]} on {side[0]}s"
        milliseconds = statistics.median(seconds[side][1:]) * 1000
        print(f"{title:24} {milliseconds:6.0f} ms   {spread(shares)} %   {read:.0f} passages a step")


if __name__ == "__main__":
    main()
