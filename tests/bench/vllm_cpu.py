"""What vLLM on a CPU spends on an evaluation's requests: this project's engine against vLLM alone, and by its settings.

    python -m tests.bench.vllm_cpu [--repeats 3] [--problems 2] [--samples 8] [--prompt 120] [--model FOLDER]

Without `--model`, a Llama of SmolLM2-135M's shape with random weights. Processor seconds of one thread: of the prompts
(one token sampled behind each), and of each token more for all rows. All ways take turns; ratios are taken pair by
pair.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from concise_rl.rollout.engine import Asked, Peek, Request, Sampling
from concise_rl.rollout.engines.vllm import VllmEngine
from tests.bench.rollouts import spread

MORE = 4
"""Tokens sampled behind the first, over which the cost of one is taken."""
VLLM_BLOCK = 128
"""Tokens of a block of vLLM's own on CPU."""
SMOLLM2_135M = LlamaConfig(
    vocab_size=49152,
    hidden_size=576,
    intermediate_size=1536,
    num_hidden_layers=30,
    num_attention_heads=9,
    num_key_value_heads=3,
    max_position_embeddings=8192,
    tie_word_embeddings=True,
    bos_token_id=0,
    eos_token_id=0,
)
Way = Callable[[Sequence[Request]], object]


@dataclass
class Shape:
    """Of the requests."""

    problems: int
    samples: int
    prompt: int

    def requests(self, numbers: "count[int]", tokens: int) -> list[Request]:
        """New prompts each time, so that none is cached."""
        generator = torch.Generator().manual_seed(next(numbers))
        prompts = torch.randint(2, 1000, (self.problems, self.prompt), generator=generator).tolist()
        return [Request(ids, tokens, i) for i, ids in enumerate(ids for ids in prompts for _ in range(self.samples))]


def alone(engine: VllmEngine) -> Way:
    """`LLM.generate`, and the same seeds."""
    from vllm import SamplingParams

    def way(requests: Sequence[Request]) -> object:
        prompts: Any = [{"prompt_token_ids": list(request.prompt_ids)} for request in requests]
        params = [
            SamplingParams(max_tokens=one.max_tokens, seed=one.seed, ignore_eos=True, detokenize=False)
            for one in requests
        ]
        return engine.llm.generate(prompts, params, use_tqdm=False)

    return way


def ours(engine: VllmEngine) -> Way:
    """This project's engine, which no token ends here."""
    return lambda requests: engine.generate(Asked(requests, Sampling()))


def cost(way: Way, shape: Shape, numbers: "count[int]") -> tuple[float, float]:
    """Processor seconds of the prompts, and of a token more for all rows."""
    seconds = []
    for tokens in (1, 1 + MORE):
        requests = shape.requests(numbers, tokens)
        began = time.process_time()
        way(requests)
        seconds.append(time.process_time() - began)
    return seconds[0], (seconds[1] - seconds[0]) / MORE


def cached(engine: VllmEngine, shape: Shape, numbers: "count[int]", tokens: int = 64) -> tuple[int, int]:
    """Tokens before looks behind sampled thinking, and those of them that vLLM finds in its cache, by its counters."""
    requests = shape.requests(numbers, tokens)
    completions = engine.generate(Asked(requests, Sampling()))
    before = counters(engine)
    engine.peek(
        [Peek([*request.prompt_ids, *one.ids, 7, 8]) for request, one in zip(requests, completions, strict=True)]
    )
    asked, found = (after - earlier for after, earlier in zip(counters(engine), before, strict=True))
    return asked, found


def counters(engine: VllmEngine) -> tuple[int, int]:
    """Tokens that were looked up in the cache of prefixes since the start, and those found."""
    values = {metric.name: metric.value for metric in engine.llm.get_metrics() if "prefix_cache" in metric.name}
    return int(values["vllm:prefix_cache_queries"]), int(values["vllm:prefix_cache_hits"])


def report(name: str, runs: Sequence[dict[str, tuple[float, float]]], first: str) -> None:
    """Print a way's medians, and its ratios to the first."""
    prompts, steps = ([run[name][part] for run in runs] for part in (0, 1))
    ratios = [[run[name][part] / run[first][part] for run in runs] for part in (0, 1)]
    print(
        f"{name:44} prompts {statistics.median(prompts):6.2f} s  x {spread(ratios[0])}   "
        f"token {1000 * statistics.median(steps):6.0f} ms  x {spread(ratios[1])}"
    )


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--problems", type=int, default=2)
    parser.add_argument("--samples", type=int, default=8)
    parser.add_argument("--prompt", type=int, default=120)
    parser.add_argument("--model")
    args = parser.parse_args()
    torch.set_num_threads(1)
    os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
    with tempfile.TemporaryDirectory() as folder:
        if args.model is None:
            LlamaForCausalLM(SMOLLM2_135M).save_pretrained(folder)
        run(args.model or folder, Shape(args.problems, args.samples, args.prompt), args.repeats)


def run(model: str, shape: Shape, repeats: int) -> None:
    """Start the engines, let the ways take turns, and print."""
    start: dict[str, Any] = {"max_model_length": 2048, "skip_tokenizer_init": True, "disable_log_stats": False}
    large = VllmEngine(model, None, [0], dtype="float32", block_size=VLLM_BLOCK, **start)
    half = VllmEngine(model, None, [0], dtype="bfloat16", **start)
    plain = VllmEngine(model, None, [0], dtype="float32", **start)  # the last: vLLM counts for one engine of a process
    ways = {
        "LLM.generate alone": alone(plain),
        "engine": ours(plain),
        f"engine, blocks of {VLLM_BLOCK}": ours(large),
        "engine, bfloat16": ours(half),
    }
    numbers = count()
    for way in ways.values():
        way(shape.requests(numbers, 2))
    runs = [{name: cost(way, shape, numbers) for name, way in ways.items()} for _ in range(repeats)]
    isa = [name for name in ("avx512", "avx512_bf16", "amx_tile") if getattr(torch.cpu, f"_is_{name}_supported")()]
    print(f"{shape}, {repeats} repeats, processor seconds, {', '.join(isa)}")
    for name in ways:
        report(name, runs, "LLM.generate alone")
    asked, found = cached(plain, shape, numbers)
    print(f"looks behind 64 sampled tokens: {found} of {asked} tokens before them are cached")


if __name__ == "__main__":
    main()
