"""Forward and backward of a group: over its tree of prefixes, over padded rows, over rows one by one.

    python -m tests.bench.prefix [--repeats 3] [--model qwen3]

A model of 6 million parameters on one thread. All ways run in one process, in turn, on the same rows, which are drawn
anew in each repeat. Processor seconds: median, least and greatest; ratios of them, pair by pair. Then the peak of
memory: by how much a process of its own grows (on Linux).
"""

import argparse
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, LlamaConfig, Qwen3Config
from trl.trainer.utils import add_fused_lm_head

from concise_rl.prefix_attention import use_tree_attention
from concise_rl.prefix_tree import build_tree, shared_forward

VOCABULARY = 2048
CONFIGS = {"qwen3": Qwen3Config, "llama": LlamaConfig}
PROMPT, EXIT, ANSWER, EXITS = 60, 12, 20, 8
Rows = list[tuple[list[int], list[int]]]
Batch = tuple[Tensor, Tensor, int]


def model_of(name: str) -> Any:
    """Random weights, in training, with TRL's head."""
    torch.manual_seed(0)
    config = CONFIGS[name](
        vocab_size=VOCABULARY,
        hidden_size=256,
        intermediate_size=768,
        num_hidden_layers=6,
        num_attention_heads=4,
        num_key_value_heads=4,
        head_dim=64,
        max_position_embeddings=16384,
    )
    model = AutoModelForCausalLM.from_config(config, attn_implementation="sdpa")
    add_fused_lm_head(model, outputs=("log_probs", "entropy"))
    use_tree_attention(model)  # without a tree it is sdpa
    return model.train()


def words(draw: random.Random, length: int) -> list[int]:
    """Random tokens."""
    return [draw.randrange(VOCABULARY) for _ in range(length)]


def serial(draw: random.Random, thinking: int) -> Rows:
    """A path of so many thinking tokens, cut at 8 exits, and the path to its end; an answer to each."""
    prompt, path, text = words(draw, PROMPT), words(draw, thinking), words(draw, EXIT)
    cuts = sorted(draw.sample(range(1, thinking), EXITS))
    exits = [(prompt, path[:cut] + text + words(draw, ANSWER)) for cut in cuts]
    return [*exits, (prompt, path + words(draw, ANSWER))]


def parallel(draw: random.Random, prompt: int, completion: int) -> Rows:
    """8 completions to one prompt, half to once as long as `completion`."""
    asked = words(draw, prompt)
    return [(asked, words(draw, draw.randint(completion // 2, completion))) for _ in range(8)]


CASES: dict[str, Callable[[random.Random], Rows]] = {
    "serial, 1k thinking": lambda draw: serial(draw, 1024),
    "serial, 1.5k thinking": lambda draw: serial(draw, 1536),
    "serial, 2k thinking": lambda draw: serial(draw, 2048),
    "parallel, 512 + 512": lambda draw: parallel(draw, 512, 512),
    "parallel, 1024 + 512": lambda draw: parallel(draw, 1024, 512),
}


def padded(rows: Rows) -> Batch:
    """Prompts padded on the left, completions on the right, as TRL does; mask; width of the completions."""
    left, right = (max(map(len, part)) for part in zip(*rows, strict=True))
    ids, mask = torch.zeros(2, len(rows), left + right, dtype=torch.long)
    for i, (prompt, completion) in enumerate(rows):
        span = slice(left - len(prompt), left + len(completion))
        ids[i, span], mask[i, span] = torch.tensor(prompt + completion), 1
    return ids, mask, right


def over_padded_rows(model: Any, batch: Batch) -> Tensor:
    """As TRL 1.16 does it."""
    ids, mask, width = batch
    labels = ids.masked_fill(mask == 0, -100)
    labels[:, :-width] = -100
    return model(input_ids=ids, attention_mask=mask, labels=labels, fused_lm_head=True).log_probs[:, -width:]


def over_rows_one_by_one(model: Any, batch: Batch) -> Tensor:
    """A forward for each row, without its padding."""
    ids, mask, width = batch
    found = []
    for row, kept in zip(ids, mask.bool(), strict=True):
        length = int(kept[-width:].sum())
        whole = torch.ones(1, int(kept.sum()), dtype=torch.long)
        log_probs = over_padded_rows(model, (row[kept][None], whole, length))
        found.append(torch.nn.functional.pad(log_probs, (0, width - length)))
    return torch.cat(found)


def over_tree(model: Any, batch: Batch) -> Tensor:
    """A forward for all, over what differs."""
    return shared_forward(model, build_tree(*batch))[0]


WAYS: dict[str, Callable[[Any, Batch], Tensor]] = {
    "shared": over_tree,
    "padded": over_padded_rows,
    "one by one": over_rows_one_by_one,
}


def step(model: Any, way: str, batch: Batch) -> tuple[float, Tensor]:
    """Forward and backward. Returns processor seconds and the gradients."""
    model.zero_grad()
    began = time.process_time()
    WAYS[way](model, batch).sum().backward()
    seconds = time.process_time() - began
    return seconds, torch.cat([p.grad.flatten() for p in model.parameters()])


def spread(values: list[float]) -> str:
    """Median, least and greatest."""
    return f"{statistics.median(values):6.3f} ({min(values):.3f} to {max(values):.3f})"


def compare(model: Any, case: str, repeats: int) -> None:
    """Print a case's seconds and ratios."""
    seconds: dict[str, list[float]] = {way: [] for way in WAYS}
    tokens = []
    for repeat in range(repeats):
        batch = padded(CASES[case](random.Random(f"{case}{repeat}")))
        tree = build_tree(*batch)
        tokens.append((tree.input_ids.numel(), tree.tokens, batch[0].numel()))
        found = {way: step(model, way, batch) for way in WAYS}
        for way, (spent, gradient) in found.items():
            seconds[way].append(spent)
            difference = (gradient - found["padded"][1]).abs().max() / found["padded"][1].abs().max()
            assert difference < 1e-5, (way, difference)
    print(f"\n{case}: tokens unique, all, padded: {', '.join(f'{u} {a} {p}' for u, a, p in tokens)}")
    for way, own in seconds.items():
        print(f"  {way:12} {spread(own)} s", end="")
        if way != "shared":
            print(f"   shared / {way}: {spread([s / o for s, o in zip(seconds['shared'], own, strict=True)])}", end="")
        print()


def resident(kind: str) -> int:
    """MiB of memory that this process holds (VmRSS) or held at its peak (VmHWM). Not from `getrusage`: a process starts
    with the peak of the one that started it."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(kind))
    return int(line.split()[1]) // 1024


def grow(name: str, way: str, case: str) -> None:
    """Print by how many MiB this process grows in a step, at its peak."""
    model, batch = model_of(name), padded(CASES[case](random.Random(case)))
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts from here
    before = resident("VmRSS")
    WAYS[way](model, batch).sum().backward()
    print(resident("VmHWM") - before)


def peaks(name: str) -> None:
    """Print the peaks of memory, each of a process of its own."""
    print("\npeak of memory in a step, MiB above the process before it")
    for case in CASES:
        found = {}
        for way in WAYS:
            command = [sys.executable, "-m", "tests.bench.prefix", "--model", name, "--peak", way, case]
            found[way] = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1]
        print(f"  {case:22} {', '.join(f'{way} {peak}' for way, peak in found.items())}")


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--model", choices=CONFIGS, default="qwen3")
    parser.add_argument("--peak", nargs=2, metavar=("WAY", "CASE"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.peak:
        grow(args.model, *args.peak)
        return
    model = model_of(args.model)
    print(f"{args.model}, {sum(p.numel() for p in model.parameters()) / 1e6:.1f}M parameters, {args.repeats} repeats")
    step(model, "shared", padded(CASES["parallel, 512 + 512"](random.Random(0))))  # warms up
    for case in CASES:
        compare(model, case, args.repeats)
    peaks(args.model)


if __name__ == "__main__":
    main()
