"""A group over its tree of prefixes, against padded rows, rows one by one, and the tree under a dense mask.

    python -m tests.bench.prefix rows [--repeats 7] [--model qwen3]     # forward and backward
    python -m tests.bench.prefix step [--repeats 5] [--groups 4]        # whole steps of S-GRPO, rollouts included
    python -m tests.bench.prefix memory [--model qwen3]                 # peaks, of a process for each (on Linux)

A model of 6 million parameters on one thread, random weights. All ways run in one process, in turn. Processor seconds:
median, least and greatest; ratios of them, pair by pair.

Where exits are is drawn, and how much a group shares with it: the share of its tokens that is left in the tree is
printed beside the ratios, which cannot be much lower.
"""

import argparse
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, Qwen3Config
from trl.trainer.utils import add_fused_lm_head

from concise_rl import ConciseConfig, ConciseTrainer
from concise_rl.methods import RolloutBatch
from concise_rl.models.resolve import resolve_model
from concise_rl.shared_prefix.attention import use_tree_attention
from concise_rl.shared_prefix.tree import build_tree, shared_forward
from reward import SGrpo
from reward.s_grpo import serial_rewards
from tests.bench.step import SETTINGS, Stepper, problems

VOCABULARY = 2048
CONFIGS = {"qwen3": Qwen3Config, "llama": LlamaConfig}
PROMPT, EXIT, ANSWER, EXITS = 60, 12, 24, 8
Rows = list[tuple[list[int], list[int]]]
Batch = tuple[Tensor, Tensor, int]


def random_model(name: str) -> Any:
    """Random weights, in training."""
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
    return AutoModelForCausalLM.from_config(config, attn_implementation="sdpa").train()


def model_of(name: str) -> Any:
    """The same with TRL's head and attention over trees."""
    model = random_model(name)
    add_fused_lm_head(model, outputs=("log_probs", "entropy"))
    use_tree_attention(model)  # without a tree it is sdpa
    return model


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
LONG: dict[str, Callable[[random.Random], Rows]] = {
    "serial, 2k": lambda draw: serial(draw, 2048),
    "serial, 4k": lambda draw: serial(draw, 4096),
    "serial, 8k": lambda draw: serial(draw, 8192),
}
ALL_CASES = CASES | LONG


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
        whole = torch.ones(1, int(kept.sum()), dtype=torch.long, device=ids.device)
        log_probs = over_padded_rows(model, (row[kept][None], whole, length))
        found.append(torch.nn.functional.pad(log_probs, (0, width - length)))
    return torch.cat(found)


def over_tree(model: Any, batch: Batch) -> Tensor:
    """A forward for all, over what differs."""
    return shared_forward(model, build_tree(*batch))[0]


def over_tree_under_a_dense_mask(model: Any, batch: Batch) -> Tensor:
    """The same forward without attention over trees: a mask of nodes x nodes, which a plain model takes."""
    tree = build_tree(*batch)
    node = torch.arange(len(tree.branches.ends))
    seen = (node <= node[:, None]) & (node[:, None] < tree.branches.ends)
    mask = torch.zeros(seen.shape).masked_fill_(seen.logical_not_(), -torch.inf)[None, None]
    outputs = model(
        input_ids=tree.input_ids,
        position_ids=tree.position_ids,
        shift_labels=tree.labels,
        attention_mask=mask,
        fused_lm_head=True,
    )
    return tree.scatter(outputs.log_probs)


WAYS: dict[str, Callable[[Any, Batch], Tensor]] = {
    "shared": over_tree,
    "padded": over_padded_rows,
    "one by one": over_rows_one_by_one,
    "dense mask": over_tree_under_a_dense_mask,
}


def forward_and_backward(model: Any, way: str, batch: Batch) -> tuple[float, Tensor]:
    """Returns processor seconds and the gradients."""
    model.zero_grad()
    began = time.process_time()
    WAYS[way](model, batch).sum().backward()
    seconds = time.process_time() - began
    return seconds, torch.cat([p.grad.flatten() for p in model.parameters()])


def spread(values: list[float]) -> str:
    """Median, least and greatest."""
    return f"{statistics.median(values):6.3f} ({min(values):.3f} to {max(values):.3f})"


def show(seconds: dict[str, list[float]], tokens: list[tuple[int, int, int]]) -> None:
    """Print seconds, and their ratios to the first side's, beside those of the tokens.

    Args:
        seconds: of each side, pair by pair.
        tokens: of each pair: unique, all, padded.
    """
    first = next(iter(seconds))
    print(f"  tokens: unique, all, padded: {'; '.join(f'{u} {a} {p}' for u, a, p in tokens)}")
    print(f"  unique of all {spread([u / a for u, a, _ in tokens])}, of padded {spread([u / p for u, _, p in tokens])}")
    for side, own in seconds.items():
        ratios = [mine / its for mine, its in zip(seconds[first], own, strict=True)]
        print(f"  {side:12} {spread(own)} s" + (f"   {first} / {side}: {spread(ratios)}" if side != first else ""))


def rows(name: str, repeats: int, groups: int) -> None:
    """Forward and backward of each case, on rows that are drawn anew in each repeat."""
    model = model_of(name)
    forward_and_backward(model, "shared", padded(CASES["parallel, 512 + 512"](random.Random(0))))  # warms up
    for case, draw in CASES.items():
        seconds: dict[str, list[float]] = {way: [] for way in WAYS}
        tokens = []
        for repeat in range(repeats):
            batch = padded(draw(random.Random(f"{case}{repeat}")))
            tree = build_tree(*batch)
            tokens.append((tree.input_ids.numel(), tree.tokens, batch[0].numel()))
            found = {way: forward_and_backward(model, way, batch) for way in WAYS}
            for way, (spent, gradient) in found.items():
                seconds[way].append(spent)
                difference = (gradient - found["padded"][1]).abs().max() / found["padded"][1].abs().max()
                assert difference < 1e-5, (way, difference)
        print(f"\n{case}", flush=True)
        show(seconds, tokens)


# ------------------------------------------------------------------ whole steps


class EveryRight(SGrpo):
    """S-GRPO that takes every rollout for right: those of random weights never are, and nothing would be learnt."""

    def rewards(self, batch: RolloutBatch) -> Tensor:
        return serial_rewards(torch.ones_like(batch.grouped(batch.earned)), self.decay).flatten()


def trainer_of(name: str, thinking: int, groups: int, shared_prefix: bool) -> ConciseTrainer:
    """Paths of exactly so many tokens, 8 exits, and answers of 24 tokens: the head's scores of `</think>`, of EOS and
    of ids that are no word are left out while tokens are sampled, so that all end at their caps. Training reads the
    head's weights, not those scores. A micro-batch is a group: padded rows of several would not fit."""
    tokenizer: Any = AutoTokenizer.from_pretrained(resolve_model("tiny:base"))
    model = random_model(name)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    end_think = tokenizer.convert_tokens_to_ids("</think>")
    never = torch.tensor([tokenizer.eos_token_id, end_think, *range(len(tokenizer), VOCABULARY)])
    model.lm_head.register_forward_hook(lambda head, hidden, logits: logits.index_fill(-1, never, -torch.inf))
    objective = EveryRight(answer_max_tokens=ANSWER)
    forced = len(tokenizer.encode(objective.exit_text, add_special_tokens=False))
    own = {
        "output_dir": tempfile.mkdtemp(),
        "verifier": "reasoning_gym",
        "per_device_train_batch_size": EXITS + 1,
        "steps_per_generation": groups,
        "gradient_accumulation_steps": groups,
        "num_generations": EXITS + 1,
        "max_completion_length": thinking + forced + ANSWER,
        "shared_prefix": shared_prefix,
        "learning_rate": 0.0,  # both sides sample the same rollouts in every step
    }
    config = ConciseConfig(**{**SETTINGS, **own})
    return ConciseTrainer(model, config, problems(), processing_class=tokenizer, objective=objective)


def rollouts_of(side: Stepper) -> Rows:
    """Of the step just made."""
    judged = side.trainer.credited.judged
    return [(prompt, rollout.ids) for prompt, rollout in zip(judged.prompt_ids, judged.rollouts, strict=True)]


def tokens_of(rows: Rows) -> tuple[int, int, int]:
    """Unique in each group, all, padded."""
    trees = [build_tree(*padded(rows[i : i + EXITS + 1])) for i in range(0, len(rows), EXITS + 1)]
    return sum(t.input_ids.numel() for t in trees), sum(t.tokens for t in trees), padded(rows)[0].numel()


def whole_step(side: Stepper, groups: int) -> tuple[float, float]:
    """Rollouts, judging, credit, and for each group a forward, a backward and a step of the optimizer. Returns
    processor seconds, and the share of the rollouts in the wall clock."""
    began = time.process_time()
    wall = sum(side.step() for _ in range(groups))
    return time.process_time() - began, side.trainer._seconds["rollout"] / wall


def steps(name: str, repeats: int, groups: int) -> None:
    """S-GRPO on the transformers engine, with `shared_prefix` and without."""
    for thinking in (64, 1024, 1536, 2048):
        sides = {way: Stepper(trainer_of(name, thinking, groups, way == "shared")) for way in ("shared", "padded")}
        seconds: dict[str, list[float]] = {way: [] for way in sides}
        shares: dict[str, list[float]] = {way: [] for way in sides}
        tokens = []
        for repeat in range(repeats):
            for way in sorted(sides, reverse=repeat % 2 == 0):
                spent, share = whole_step(sides[way], groups)
                seconds[way].append(spent)
                shares[way].append(share)
            ids, others = map(rollouts_of, sides.values())
            assert ids == others, "both sides are trained on the same rollouts"
            assert max(len(completion) for _, completion in ids) >= thinking
            tokens.append(tokens_of(ids))
        print(
            f"\nwhole step, {groups} paths of {thinking} tokens{', to warm up' if thinking == 64 else ''}", flush=True
        )
        show(seconds, tokens)
        print(f"  share of the rollouts: {', '.join(f'{way} {spread(own)}' for way, own in shares.items())}")


# ------------------------------------------------------------------ memory


def resident(kind: str) -> int:
    """MiB of memory that this process holds (VmRSS) or held at its peak (VmHWM). Not from `getrusage`: a process starts
    with the peak of the one that started it."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(kind))
    return int(line.split()[1]) // 1024


def grow(name: str, way: str, case: str) -> None:
    """Print by how many MiB this process grows in a forward and backward, at its peak."""
    model, batch = model_of(name), padded(ALL_CASES[case](random.Random(case)))
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts from here
    before = resident("VmRSS")
    WAYS[way](model, batch).sum().backward()
    print(resident("VmHWM") - before)


def peak(name: str, way: str, case: str) -> int:
    """MiB above the process before, in a process of its own."""
    command = [sys.executable, "-m", "tests.bench.prefix", "memory", "--model", name, "--peak", way, case]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1])


def memory(name: str, repeats: int, groups: int) -> None:
    """Peaks of all ways; then of the tree without and under a dense mask, as it grows."""
    print("\npeak of memory in a forward and backward, MiB above the process before it")
    for case in CASES:
        print(f"  {case:22} {', '.join(f'{way} {peak(name, way, case)}' for way in WAYS)}", flush=True)
    print("\nmask of nodes x nodes in float32: 4 N^2 bytes, kept from the first layer to the end of the backward")
    sizes, grown = [], []
    for case, draw in LONG.items():
        nodes = build_tree(*padded(draw(random.Random(case)))).input_ids.numel()
        without, under = (peak(name, way, case) for way in ("shared", "dense mask"))
        sizes.append(nodes)
        grown.append(without)
        print(f"  {case}: {nodes} nodes, {without} without, {under} under it; formula {4 * nodes**2 >> 20}", flush=True)
    each = (grown[-1] - grown[0]) * 2**20 / (sizes[-1] - sizes[0])
    print(f"  all else: {each / 1024:.0f} KiB a node; the mask would be as much from {each / 4:.0f} nodes on,")
    print(f"  a tenth of it from {each / 40:.0f} nodes on")


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    benches = {"rows": (rows, 7), "step": (steps, 5), "memory": (memory, 1)}
    parser.add_argument("what", choices=benches)
    parser.add_argument("--repeats", type=int)
    parser.add_argument("--model", choices=CONFIGS, default="qwen3")
    parser.add_argument("--groups", type=int, default=4, help="groups in a whole step")
    parser.add_argument("--peak", nargs=2, metavar=("WAY", "CASE"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.peak:
        grow(args.model, *args.peak)
        return
    bench, repeats = benches[args.what]
    repeats = args.repeats or repeats
    parameters = sum(p.numel() for p in random_model(args.model).parameters())
    print(f"{args.model}, {parameters / 1e6:.1f}M parameters, {repeats} repeats")
    bench(args.model, repeats, args.groups)


if __name__ == "__main__":
    main()
