"""Time of one step's rollouts on the embedded reasoner: ways of calling transformers' generate, interleaved.

    python -m tests.bench.rollouts [--repeats 5] [--threads 1] [--model tiny:base]

Prints median and spread of each way's time, and of its ratio to the first, pair by pair. The first is what TRL does:
one call of `generate` for the whole batch with its default cache.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch

from concise_rl.rollout.engine import Asked, Request, Sampling, derive_seed
from concise_rl.rollout.engines.transformers import TransformersEngine, load_engine
from concise_rl.tasks.tiny import load_problems

ROWS, GROUP, CAP = 128, 8, 320


def prompts_of(engine: TransformersEngine, rows: int) -> list[list[int]]:
    """Problems of the train split, each repeated for its group."""
    chats = [[{"role": "user", "content": row["prompt"]}] for row in load_problems("train", rows // GROUP)]
    ids = [engine.tokenizer.apply_chat_template(c, add_generation_prompt=True)["input_ids"] for c in chats]
    return [prompt for prompt in ids for _ in range(GROUP)]


def whole(engine: TransformersEngine, rows: int, seed: int, cache: str | None = None) -> int:
    """One call of `generate`. Returns the tokens sampled."""
    inputs = engine.tokenizer.pad({"input_ids": prompts_of(engine, rows)}, padding_side="left", return_tensors="pt")
    torch.manual_seed(seed)
    out = engine.model.generate(
        **inputs, max_new_tokens=CAP, do_sample=True, cache_implementation=cache, disable_compile=True
    )
    return int((out[:, inputs["input_ids"].size(1) :] != engine.tokenizer.pad_token_id).sum())


def segments(engine: TransformersEngine, rows: int, seed: int, segment: int, cap: int = CAP) -> int:
    """This project's engine. Returns the tokens sampled."""
    ours = TransformersEngine(engine.model, engine.tokenizer, engine.eos_token_ids, rows, segment)
    requests = [Request(prompt, cap, derive_seed(seed, row)) for row, prompt in enumerate(prompts_of(engine, rows))]
    return sum(len(c.ids) for c in ours.generate(Asked(requests, Sampling())))


WAYS: dict[str, Callable[[TransformersEngine, int], int]] = {
    "generate, one call (TRL's default)": lambda e, seed: whole(e, ROWS, seed),
    "generate, static cache": lambda e, seed: whole(e, ROWS, seed, "static"),
    "segments of 96": lambda e, seed: segments(e, ROWS, seed, 96),
    "segments of 48 (default)": lambda e, seed: segments(e, ROWS, seed, 48),
    "segments of 24": lambda e, seed: segments(e, ROWS, seed, 24),
    "segments of 48, cap 256": lambda e, seed: segments(e, ROWS, seed, 48, 256),
    "segments of 48, 64 rows": lambda e, seed: segments(e, ROWS // 2, seed, 48),
}


def timed(way: Callable[[TransformersEngine, int], int], engine: TransformersEngine, seed: int) -> tuple[float, int]:
    """Seconds and tokens of one call."""
    start = time.perf_counter()
    tokens = way(engine, seed)
    return time.perf_counter() - start, tokens


def spread(values: list[float]) -> str:
    """Median, least and greatest."""
    return f"{statistics.median(values):6.2f} ({min(values):.2f} to {max(values):.2f})"


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--model", default="tiny:base")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    engine = load_engine(args.model)
    runs = [{name: timed(way, engine, seed) for name, way in WAYS.items()} for seed in range(args.repeats)]
    first = next(iter(WAYS))
    print(f"{ROWS} rows, cap {CAP}, {args.threads} thread(s), {args.repeats} repeats, seconds and ratio to the first")
    for name in WAYS:
        seconds = [run[name][0] for run in runs]
        ratios = [run[name][0] / run[first][0] for run in runs]
        tokens = statistics.median(run[name][1] for run in runs)
        print(f"{name:36} {spread(seconds)} s   x {spread(ratios)}   {tokens:.0f} tokens")


if __name__ == "__main__":
    main()
