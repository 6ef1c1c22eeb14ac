"""Throughput of an evaluation with vLLM in this process, against vLLM alone; and what first-finish spares.

    python -m tests.bench.evaluation [--repeats 3] [--problems 256] [--samples 4] [--threads 1] [--model tiny:base]

The first way hands prompts, caps and seeds to `LLM.generate`; the second is the whole of `complete_samples` on the same
`LLM`: prompts written, completions judged, samples on disk. Both draw the same tokens, which is checked. They take
turns; medians and spread are over the repeats, ratios are taken pair by pair.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset

from concise_rl.data.rows import keep_verifiable, load_rows
from concise_rl.evaluate.drawing import Drawing, complete_samples, seed_of
from concise_rl.evaluate.problems import encode_problems
from concise_rl.evaluate.progress import Progress
from concise_rl.evaluate.spec import Measurement
from concise_rl.rollout.engines.vllm import VllmEngine, load_vllm_engine
from concise_rl.verify.pool import VerifierPool
from tests.bench.rollouts import spread

CAP, BATCH = 512, 4096


@dataclass
class Bench:
    """What every way shares."""

    engine: VllmEngine
    rows: Dataset
    verifier: VerifierPool
    samples: int

    def measurement(self, seed: int, **changes: Any) -> Measurement:
        """Of the embedded task, by vLLM."""
        settings = {"task": "tiny:sums", "samples": self.samples, "max_tokens": CAP, "batch_size": BATCH, "seed": seed}
        return Measurement(engine="vllm", verifier="reasoning_gym", **settings | changes)


def raw(bench: Bench, seed: int) -> Callable[[], int]:
    """`LLM.generate` and nothing else."""
    from vllm import SamplingParams

    measurement = bench.measurement(seed)
    problems = encode_problems(bench.rows, bench.engine.tokenizer, measurement)
    places = [(problem, number) for problem in problems for number in range(bench.samples)]
    prompts: Any = [{"prompt_token_ids": problem.prompt_ids} for problem, _ in places]
    seeds = [seed_of(measurement, problem.index, number) for problem, number in places]
    params = [
        SamplingParams(max_tokens=CAP, seed=seed, stop_token_ids=bench.engine.eos_token_ids, detokenize=False)
        for seed in seeds
    ]

    def way() -> int:
        outputs = bench.engine.llm.generate(prompts, params, use_tqdm=False)
        return sum(len(output.outputs[0].token_ids) for output in outputs)

    return way


def evaluation(bench: Bench, seed: int, keep_shortest: int | None = None) -> Callable[[], int]:
    """All that an evaluation does for one model."""
    batch_size = BATCH // bench.samples * bench.samples
    measurement = bench.measurement(seed, keep_shortest=keep_shortest, batch_size=batch_size)

    def way() -> int:
        with tempfile.TemporaryDirectory() as folder:
            progress = Progress("evaluation", len(bench.rows) * bench.samples)
            path = Path(folder) / "samples.jsonl"
            complete_samples(Drawing.of(bench.engine, measurement, bench.verifier), bench.rows, path, progress)
        return progress.tokens

    return way


WAYS: dict[str, Callable[[Bench, int], Callable[[], int]]] = {
    "LLM.generate alone": raw,
    "complete_samples": evaluation,
    "complete_samples, first-finish": partial(evaluation, keep_shortest=1),
}


def timed(bench: Bench, prepare: Callable[[Bench, int], Callable[[], int]], seed: int) -> tuple[float, int]:
    """Seconds and tokens of one turn, without anything cached from the one before."""
    way = prepare(bench, seed)
    bench.engine.llm.reset_prefix_cache()
    start = time.perf_counter()
    tokens = way()
    return time.perf_counter() - start, tokens


def report(runs: list[dict[str, tuple[float, int]]]) -> None:
    """Print a line for each way."""
    first, whole, _ = WAYS
    assert all(run[first][1] == run[whole][1] for run in runs), "the same seeds draw the same tokens"
    for name in WAYS:
        seconds = [run[name][0] for run in runs]
        tokens = [float(run[name][1]) for run in runs]
        rates = [run[name][1] / run[name][0] for run in runs]
        ratios = [rate * run[first][0] / run[first][1] for rate, run in zip(rates, runs, strict=True)]
        print(
            f"{name:32} {spread(seconds)} s  {statistics.median(tokens):8.0f} tokens  "
            f"{statistics.median(rates):7.0f} tokens/s  x {spread(ratios)}"
        )


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--problems", type=int, default=256)
    parser.add_argument("--samples", type=int, default=4)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--model", default="tiny:base")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    engine = load_vllm_engine(args.model, max_tokens=CAP)
    with VerifierPool("reasoning_gym") as verifier:
        rows, _ = keep_verifiable(load_rows("tiny:sums", split="test", num_rows=args.problems), verifier)
        bench = Bench(engine, rows, verifier, args.samples)
        for way in WAYS.values():
            timed(bench, way, args.repeats)  # the first turn of each pays for what is made once
        runs = [{name: timed(bench, way, seed) for name, way in WAYS.items()} for seed in range(args.repeats)]
    engine.close()
    print(
        f"{args.problems} problems x {args.samples}, cap {CAP}, {args.threads} thread(s), {args.repeats} repeats, "
        "seconds and ratio of tokens/s to the first"
    )
    report(runs)


if __name__ == "__main__":
    main()
