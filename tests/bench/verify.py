"""Verdicts a minute: the verifier `math`, and math-verify alone in the same pool.

    python -m tests.bench.verify [--answers 2000] [--workers 2]

The answers are those of `tests/concise_rl/verify/verifiers/verdicts.jsonl` and the gold answers of MATH-500 where it
lies beside the checkout, each right, and with another row's gold answer; behind 2,000 characters of text, as models
write.
The pools take turns. Starting the workers does not count.
"""

import argparse
import json
import random
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet

from concise_rl.verify.pool import Item, VerifierPool

TRIPLES = Path(__file__).resolve().parents[1] / "concise_rl" / "verifiers" / "verdicts.jsonl"
MATH500 = Path(__file__).resolve().parents[3] / "shared" / "data" / "math500.parquet"
TEXT = "We add both sides and see that the left one is $3 + 4 = 7$, and go on. " * 28


def math_verify_alone(response: str, row: Mapping[str, Any]) -> bool:
    """The last answer of a response against the row's, by math-verify with its own settings but for the clock."""
    import logging

    import math_verify

    logging.getLogger("math_verify").setLevel(logging.CRITICAL)
    gold = math_verify.parse(rf"\boxed{{{row['answer']}}}", parsing_timeout=0)
    return math_verify.verify(gold, math_verify.parse(response, parsing_timeout=0), timeout_seconds=None)


def items(count: int) -> list[Item]:
    """Answers of which half are right."""
    if MATH500.is_file():
        golds = [str(row["reward_model"]["ground_truth"]) for row in pyarrow.parquet.read_table(MATH500).to_pylist()]
    else:
        golds = [json.loads(line)["gold"] for line in TRIPLES.read_text(encoding="utf-8").splitlines()]
    rng = random.Random(0)
    rows = [golds[i % len(golds)] for i in range(count)]
    given = [gold if i % 2 else rng.choice(golds) for i, gold in enumerate(rows)]
    return [
        (rf"{TEXT} The answer is \boxed{{{text}}}.", {"answer": gold}) for text, gold in zip(given, rows, strict=True)
    ]


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--answers", type=int, default=2000)
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()
    answers = items(args.answers)
    pools = [VerifierPool(name, args.workers) for name in ("math", "tests.bench.verify.math_verify_alone")]
    seconds = [0.0, 0.0]
    for pool in pools:
        pool.judge(answers[: 8 * args.workers])
        pool.reset_counters()
    for start in range(0, len(answers), 250):
        for i, pool in enumerate(pools):
            began = time.perf_counter()
            pool.judge(answers[start : start + 250])
            seconds[i] += time.perf_counter() - began
    for pool, elapsed in zip(pools, seconds, strict=True):
        print(f"{pool.name:40} {len(answers) / elapsed * 60:7.0f} answers a minute, {pool.counters['correct']} right")
        pool.close()


if __name__ == "__main__":
    main()
