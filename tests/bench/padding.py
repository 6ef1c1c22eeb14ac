"""Micro-batches over their own columns, against TRL's width of the rank's whole generation batch.

    python -m tests.bench.padding [--repeats 7] [--model qwen3]

Forward and backward of the 16 rollouts of a rank, in micro-batches of 1, 2 and 4 rows, on a model of 6 million
parameters with random weights, on one thread. Lengths are heavy-tailed: drawn anew in each repeat, the longest 3 times
the mean. Both ways run in one process, in turn. Processor seconds: median, least and greatest; ratios, pair by pair.
"""

import argparse
import random
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from trl import GRPOTrainer

from concise_rl import ConciseTrainer
from concise_rl.train.forwards import used_columns
from tests.bench.prefix import CONFIGS, Batch, model_of, padded, spread, words
from tests.bench.step import ours

ROWS, PROMPT, CAP, TAIL = 16, 64, 768, 3.0
WAYS: dict[str, Callable[..., Any]] = {
    "TRL's width": GRPOTrainer._get_per_token_logps_and_entropies,
    "own columns": ConciseTrainer._get_per_token_logps_and_entropies,
}


def lengths(draw: random.Random) -> list[int]:
    """Of a rank's rollouts: one at the cap, the others exponential; the longest is TAIL times the mean."""
    rest = [draw.expovariate(1.0) for _ in range(ROWS - 1)]
    scale = (CAP / TAIL * ROWS - CAP) / sum(rest)
    found = [CAP, *(max(16, min(CAP, round(each * scale))) for each in rest)]
    draw.shuffle(found)
    return found


def batch_of(draw: random.Random) -> Batch:
    """Rollouts of random tokens, padded as TRL does."""
    return padded([(words(draw, PROMPT), words(draw, length)) for length in lengths(draw)])


def forward_and_backward(
    trainer: ConciseTrainer, model: Any, way: str, batch: Batch, rows: int
) -> tuple[float, Tensor]:
    """Returns processor seconds and the gradients."""
    ids, mask, width = batch
    model.zero_grad()
    began = time.process_time()
    for chunk in zip(ids.split(rows), mask.split(rows), strict=True):
        logps, *_ = WAYS[way](trainer, model, *chunk, width)
        (logps * chunk[1][:, -width:]).sum().backward()
    seconds = time.process_time() - began
    return seconds, torch.cat([p.grad.flatten() for p in model.parameters()])


def columns_left(batch: Batch, rows: int) -> float:
    """Share of the columns that are forwarded."""
    spans = [used_columns(mask, batch[2]) for mask in batch[1].split(rows)]
    return statistics.mean(end - first for first, end in spans) / batch[1].size(1)


def measure(trainer: ConciseTrainer, model: Any, rows: int, repeats: int) -> None:
    """Both ways in micro-batches of so many rows."""
    seconds: dict[str, list[float]] = {way: [] for way in WAYS}
    left = []
    for repeat in range(repeats):
        batch = batch_of(random.Random(repeat))
        left.append(columns_left(batch, rows))
        found = {way: forward_and_backward(trainer, model, way, batch, rows) for way in WAYS}
        (_, expected), (_, gradient) = found.values()
        assert (gradient - expected).abs().max() < 1e-5 * expected.abs().max()
        for way, (spent, _) in found.items():
            seconds[way].append(spent)
    theirs, mine = seconds.values()
    ratios = [ours / trls for ours, trls in zip(mine, theirs, strict=True)]
    print(f"{rows} row(s)   {spread(theirs)} s   {spread(mine)} s   ratio {spread(ratios)}   columns {spread(left)}")


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--model", choices=CONFIGS, default="qwen3")
    args = parser.parse_args()
    torch.set_num_threads(1)
    trainer, model = ours(), model_of(args.model)
    forward_and_backward(trainer, model, "own columns", batch_of(random.Random(0)), 1)  # warms up
    print(
        f"{ROWS} rollouts, longest {CAP} tokens, {TAIL:g} times the mean; prompts of {PROMPT}; {args.repeats} repeats"
    )
    print(f"micro-batch   {'   '.join(WAYS)}   ratio, pair by pair   share of columns forwarded")
    for rows in (1, 2, 4):
        measure(trainer, model, rows, args.repeats)


if __name__ == "__main__":
    main()
