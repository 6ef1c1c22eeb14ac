"""The embedded reasoner, so that everything here can be tried for real on a laptop.

The weights of five ship with the package: `tiny:base`, the reasoner that overthinks, and what three methods make of it,
`tiny:grpo_lambda`, `tiny:s_grpo` and `tiny:decs` (recipes/tiny/ with seed 0; `launch/tiny_models.sh` makes them again).
Their task is `tiny:sums`. `tiny:bench_base` overthinks the problems of `tiny:bench` (recipes/bench/sft.yaml).
`tiny:untrained` is the same architecture with random weights; there `recipes/tiny/sft.yaml` starts, the first recipe of
`tiny:base`.
"""

import hashlib
import itertools
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from concise_rl.tasks.reasoning.overthinking import Habits

WEIGHTS = Path(__file__).parent / "weights"
TRAINED = ("tiny:grpo_lambda", "tiny:s_grpo", "tiny:decs")
"""Made of `tiny:base`, each by the recipe of its name."""
SHIPPED = ("tiny:base", *TRAINED, "tiny:bench_base")
MODELS = (*SHIPPED, "tiny:untrained")
TASK = {"min_terms": 3, "max_terms": 6, "min_digits": 1, "max_digits": 1}


def _is_test(expression: str) -> bool:
    """One expression in eight is held out for testing, whatever the seed."""
    return hashlib.sha256(expression.encode()).digest()[0] % 8 == 0


def generate_problems(split: str, seed: int) -> Iterator[dict[str, Any]]:
    """Endless problems of reasoning-gym's `chain_sum`: sums and differences of 3 to 6 single digits.

    Each row has `prompt`, `answer`, `metadata` (reasoning-gym's, for its scorer), `difficulty` (number of terms) and
    `oracle_completion` (the shortest sufficient completion). No expression of the test split is in the train split.
    """
    import reasoning_gym

    from concise_rl.tasks.tiny.traces import shortest_completion

    if split not in ("train", "test"):
        raise ValueError(f"tiny:sums has the splits train and test, not {split!r}.")
    # chain_sum draws row i from seed + i, so neighbouring seeds would share their problems.
    stream = reasoning_gym.create_dataset("chain_sum", size=10**9, seed=random.Random(seed).getrandbits(40), **TASK)
    for index in itertools.count():
        row = stream[index]
        expression = row["metadata"]["expression"]
        if _is_test(expression) == (split == "test"):
            yield {
                "prompt": row["question"],
                "answer": row["answer"],
                "metadata": json.dumps(row["metadata"]),
                "difficulty": row["metadata"]["num_terms"],
                "oracle_completion": shortest_completion(expression),
            }


def load_problems(split: str = "train", num_rows: int | None = None, seed: int = 0) -> list[dict[str, Any]]:
    """The first `num_rows` (4,096 unless told) different problems of a split, see `generate_problems`."""
    rows: dict[str, dict[str, Any]] = {}
    for row in generate_problems(split, seed):
        rows.setdefault(row["prompt"], row)
        if len(rows) == (num_rows or 4096):
            return list(rows.values())
    raise AssertionError("the stream of problems is endless")


def load_traces(num_rows: int | None = None, seed: int = 0, direct: float = 0.6) -> list[dict[str, Any]]:
    """Demonstrations for `recipes/tiny/sft.yaml`: rows of `prompt` and `answer`, the answer being a whole completion.

    The first `direct` share shows one pass only. Those are short, so the sums are learnt at a fraction of the tokens;
    the rest shows the habit of overthinking. Take the rows in order, and do not batch them by length.
    """
    from concise_rl.tasks.reasoning.overthinking import Habits
    from concise_rl.tasks.tiny.traces import DIRECT

    count = num_rows or 4096
    passes = round(direct * count)
    return _demonstrations([DIRECT] * passes + [Habits()] * (count - passes), seed)


def load_careless_traces(num_rows: int | None = None, seed: int = 0) -> list[dict[str, Any]]:
    """Demonstrations for `recipes/tiny/sft_careless.yaml`: checks that find what a careless first pass got wrong."""
    from concise_rl.tasks.tiny.traces import CARELESS

    return _demonstrations([CARELESS] * (num_rows or 4096), seed)


def _demonstrations(habits: list["Habits"], seed: int) -> list[dict[str, Any]]:
    """A row for each entry of `habits`, of train problems."""
    from concise_rl.tasks.tiny.traces import overthinking_completion

    rng = random.Random(seed)
    return [
        {
            "prompt": row["prompt"],
            "answer": overthinking_completion(json.loads(row["metadata"])["expression"], rng, habit),
        }
        for habit, row in zip(habits, generate_problems("train", seed), strict=False)  # the problems are endless
    ]
