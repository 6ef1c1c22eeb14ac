"""What a check is worth on `tiny:bench`, by difficulty, before and after training.

    python -m tests.bench.worth [--problems 400] [--temperature 1] MODEL...

For each kind of problem: accuracy, tokens, tokens of the shortest sufficient completion, share of rollouts that work
the answer out, share that do so again, and accuracy of those that do and of those that do not.
"""

import argparse
import re
from typing import Any, NamedTuple

from concise_rl.rollout.engine import Asked, Request, Sampling, derive_seed
from concise_rl.rollout.engines.transformers import TransformersEngine, load_engine
from concise_rl.tasks.tiny.bench import load_bench_problems

CAP = 256
VERDICT = re.compile(r"(?:Yes|No), .*\.")


class Seen(NamedTuple):
    """One rollout."""

    difficulty: str
    right: float
    tokens: int
    necessary: int
    worked: float
    again: float


def look(row: dict[str, Any], completion: list[int], engine: TransformersEngine) -> Seen:
    """Read a rollout: whether it is right, and how often it was worked out."""
    ended = completion[-1] in engine.eos_token_ids
    text = str(engine.tokenizer.decode(completion[:-1] if ended else completion))
    thinking, _, answer = text.partition("</think>\n")
    verdicts = len(VERDICT.findall(thinking))
    necessary = len(engine.tokenizer(row["oracle_completion"]).input_ids) + 1
    right = ended and answer == row["answer"]
    return Seen(row["difficulty"], right, len(completion), necessary, verdicts > 0, verdicts > 1)


def sample(model: str, problems: int, temperature: float) -> list[Seen]:
    """One rollout of each problem of the test split."""
    engine, rows = load_engine(model), load_bench_problems("test", problems, seed=1)
    chats = [[{"role": "user", "content": row["prompt"]}] for row in rows]
    prompts = [engine.tokenizer.apply_chat_template(chat, add_generation_prompt=True)["input_ids"] for chat in chats]
    requests = [Request(prompt, CAP, derive_seed(1, place)) for place, prompt in enumerate(prompts)]
    completions = engine.generate(Asked(requests, Sampling(temperature=temperature)))
    return [look(row, completion.ids, engine) for row, completion in zip(rows, completions, strict=True)]


def mean(values: list[float]) -> str:
    """With three digits; a dash where there are none."""
    return f"{sum(values) / len(values):9.3f}" if values else f"{'-':>9}"


def line(name: str, seen: list[Seen]) -> str:
    """A line of the table."""
    checked = [[one.right for one in seen if one.worked == made] for made in (1, 0)]
    columns = [[getattr(one, field) for one in seen] for field in ("right", "tokens", "necessary", "worked", "again")]
    return f"{name:>10} {len(seen):4d}" + "".join(map(mean, [*columns, *checked]))


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="+", metavar="MODEL")
    parser.add_argument("--problems", type=int, default=400)
    parser.add_argument("--temperature", type=float, default=1.0)
    args = parser.parse_args()
    for model in args.models:
        seen = sample(model, args.problems, args.temperature)
        titles = ("accuracy", "tokens", "needed", "worked", "again", "if so", "if not")
        print(f"{model}\n      kind    n" + "".join(f"{title:>9}" for title in titles))
        for kind in sorted({one.difficulty for one in seen}):
            print(line(kind, [one for one in seen if one.difficulty == kind]))
        print(line("all", seen), flush=True)


if __name__ == "__main__":
    main()
