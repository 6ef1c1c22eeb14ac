"""Padding and shared prefixes on a GPU: seconds and memory of a forward and backward, by CUDA's own clock.

    python -m tests.bench.gpu_speed prefix [--repeats 5] [--model Qwen/Qwen3-0.6B]
    python -m tests.bench.gpu_speed padding [--repeats 5]

The rows of tests.bench.prefix and tests.bench.padding, for a model of known shape with random weights in bfloat16. All
ways run in one process, in turn, over one batch: flex attention is compiled for its shape, and what that takes is said
apart, for the first batch and for a second of another shape. Medians, least and greatest; ratios pair by pair.
"""

import argparse
import random
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM
from trl.trainer.utils import add_fused_lm_head

from concise_rl.recipe.fit.facts import known_facts
from concise_rl.recipe.fit.memory import GIB
from concise_rl.shared_prefix.attention import use_tree_attention
from concise_rl.shared_prefix.tree import build_tree
from tests.bench import padding, prefix
from tests.bench.prefix import Batch, over_padded_rows, over_rows_one_by_one, over_tree, padded, spread
from tests.bench.step import ours

CASES = ("serial, 2k thinking", "parallel, 1024 + 512", "serial, 4k")
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
Way = Callable[[Batch], Tensor]


def model_of(name: str, attention: str = "sdpa") -> Any:
    """Random weights in bfloat16, in training, with TRL's head and attention over trees."""
    facts = known_facts(name)
    assert facts is not None, f"{name} is not in known_models.json"
    with torch.device(DEVICE):
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(facts.config, dtype=torch.bfloat16, attn_implementation=attention)
    add_fused_lm_head(model, outputs=("log_probs", "entropy"))
    use_tree_attention(model)
    return model.train()


def to_device(batch: Batch) -> Batch:
    """The same rows where the model is."""
    ids, mask, width = batch
    return ids.to(DEVICE), mask.to(DEVICE), width


def timed(model: Any, way: Way, batch: Batch) -> tuple[float, float]:
    """Seconds of a forward and backward, and GiB at its peak above what lay there before."""
    model.zero_grad()
    if DEVICE == "cpu":
        began = time.perf_counter()
        way(batch).sum().backward()
        return time.perf_counter() - began, 0.0
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    began, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    began.record()
    way(batch).sum().backward()
    ended.record()
    torch.cuda.synchronize()
    return began.elapsed_time(ended) / 1000, (torch.cuda.max_memory_allocated() - before) / GIB


def compare(sides: dict[str, tuple[Any, Way]], batch: Batch, other: Batch, repeats: int) -> None:
    """Print what the first call of each side takes, of a batch and of another; then all in turn, and ratios to the
    last side's seconds."""
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    peaks: dict[str, float] = {}
    for name, (model, way) in sides.items():
        (first, _), (second, _) = timed(model, way, other), timed(model, way, batch)
        print(f"  {name:14} first call {first:.2f} s, first of another shape {second:.2f} s", flush=True)
    for _ in range(repeats):
        for name, (model, way) in sides.items():
            spent, peaks[name] = timed(model, way, batch)
            seconds[name].append(spent)
    last = list(seconds)[-1]
    for name, own in seconds.items():
        ratios = [mine / its for mine, its in zip(own, seconds[last], strict=True)]
        print(f"  {name:14} {spread(own)} s   to {last} {spread(ratios)}   peak {peaks[name]:.2f} GiB", flush=True)


def prefixes(name: str, repeats: int) -> None:
    """A group over its tree, by both kinds of attention, against rows one by one and padded."""
    model, flex = model_of(name), model_of(name, "flex_attention")
    flex.load_state_dict(model.state_dict())
    sides: dict[str, tuple[Any, Way]] = {
        "tree, sdpa": (model, lambda batch: over_tree(model, batch)),
        "tree, flex": (flex, lambda batch: over_tree(flex, batch)),
        "one by one": (model, lambda batch: over_rows_one_by_one(model, batch)),
        "padded": (model, lambda batch: over_padded_rows(model, batch)),
    }
    if DEVICE == "cpu":  # where flex attention has no backward
        del sides["tree, flex"]
    for case in CASES:
        batch, other = (to_device(padded(prefix.ALL_CASES[case](random.Random(f"{case}{i}")))) for i in range(2))
        tree = build_tree(*batch)
        print(f"\n{case}: {tree.input_ids.numel()} tokens unique, {tree.tokens} in all, {batch[0].numel()} padded")
        with torch.no_grad():
            exact = over_padded_rows(model, batch).float()
            far = [(way(batch).float() - exact).abs().mean().item() for _, way in list(sides.values())[:-1]]
        print(f"  mean distance to the padded rows' log-probabilities: {', '.join(f'{d:.4f}' for d in far)}")
        compare(sides, batch, other, repeats)


def paddings(name: str, repeats: int) -> None:
    """Micro-batches over their own columns against TRL's width."""
    trainer, model = ours(use_cpu=DEVICE == "cpu"), model_of(name)

    def by(way: str, rows: int) -> Way:
        def forwards(batch: Batch) -> Tensor:
            ids, mask, width = batch
            total = torch.zeros((), device=DEVICE)
            for chunk in zip(ids.split(rows), mask.split(rows), strict=True):
                logps, *_ = padding.WAYS[way](trainer, model, *chunk, width)
                loss = (logps * chunk[1][:, -width:]).sum()
                loss.backward()
                total += loss.detach()
            return total.requires_grad_()

        return forwards

    for rows in (1, 2, 4):
        batch, other = (to_device(padding.batch_of(random.Random(i))) for i in range(2))
        left = padding.columns_left(batch, rows)
        print(f"\n{rows} row(s) in a micro-batch, {left:.2f} of the columns left")
        sides: dict[str, tuple[Any, Way]] = {way: (model, by(way, rows)) for way in reversed(padding.WAYS)}
        compare(sides, batch, other, repeats)


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    benches = {"prefix": prefixes, "padding": paddings}
    parser.add_argument("what", choices=benches)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--model", default="Qwen/Qwen3-0.6B", help="a name of known_models.json")
    args = parser.parse_args()
    card = torch.cuda.get_device_name() if DEVICE == "cuda" else "the CPU"
    print(f"{args.model}'s shape, bfloat16, on {card}, torch {torch.__version__}, {args.repeats} repeats", flush=True)
    benches[args.what](args.model, args.repeats)


if __name__ == "__main__":
    main()
