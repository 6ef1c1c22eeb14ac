"""Time of grading stored samples again: `concise-rl rescore` as a whole, byte-identity checked.

    python -m tests.bench.rescore [--samples 10000] [--tokens 1000] [--judge rule]

Samples are made in a temporary folder: the problems and golds of MATH-500 where it lies beside the checkout, 20 samples
of each, of which two thirds are right; the thinking is prose with results, which states the answer and checks it. They
are graded once, so that they hold what an evaluation writes, and then a second time, with the clock on: the files must
come out as they were.
"""

import argparse
import hashlib
import json
import os
import random
import tempfile
import time
from pathlib import Path

import pyarrow.parquet
from transformers import PreTrainedTokenizerFast

from concise_rl.evaluate.claim import claim_folder
from concise_rl.evaluate.known import word_tokenizer
from concise_rl.evaluate.rescore.run import Wanted, rescore
from concise_rl.evaluate.samples import Sample, append_samples
from concise_rl.evaluate.spec import Manifest, Measurement, ModelRun
from tests.bench.verify import MATH500, items

CLOSE, END = "</think>", "<eos>"
STEPS = (
    "We add both sides and see that the left one is $%d + %d = %d$, and go on with that.",
    "Let me think about the case of %d and %d: together they make %d, which we need below.",
    "Since %d is less than %d, the difference is %d, so the next step follows.",
    "But that uses %d twice, and %d once, so there are %d of them in all.",
)


def problems() -> list[tuple[str, str]]:
    """Prompts and golds."""
    if not MATH500.is_file():
        return [(f"Problem {i}", str(row["answer"])) for i, (_, row) in enumerate(items(500))]
    rows = pyarrow.parquet.read_table(MATH500).to_pylist()
    return [(row["prompt"][0]["content"], str(row["reward_model"]["ground_truth"])) for row in rows]


def thinking(rng: random.Random, answer: str, words: int) -> str:
    """Prose of about so many words, of which the answer stands at two fifths."""
    lines: list[str] = []
    while sum(map(len, lines)) < 6 * words:
        one, two = rng.randint(2, 900), rng.randint(2, 900)
        lines.append(rng.choice(STEPS) % (one, two, one + two) + "\n\n")
    lines.insert(len(lines) * 2 // 5, f"So the answer is ${answer}$.\n\nWait, let me check that again.\n\n")
    return "".join(lines)


def tokenizer(folder: Path, texts: list[str]) -> PreTrainedTokenizerFast:
    """Words and marks as tokens, saved as a model's."""
    made = word_tokenizer(texts)
    made.add_special_tokens({"eos_token": END})
    made.add_tokens([CLOSE], special_tokens=True)
    made.save_pretrained(folder)
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": made.eos_token_id}))
    return made


def make(folder: Path, count: int, words: int, judge: str | None) -> Path:
    """Write an evaluation's folder whose samples have no verdicts yet."""
    rng, asked = random.Random(0), problems()
    per_problem = -(-count // len(asked))
    pairs = [(p, k) for p in range(len(asked)) for k in range(per_problem)][:count]
    given = [asked[p][1] if rng.random() < 2 / 3 else rng.choice(asked)[1] for p, _ in pairs]
    thoughts = [thinking(rng, answer, words) for answer in given]
    closing = [rf"The answer is \boxed{{{answer}}}." for answer in given]
    model = tokenizer(folder / "model", [*thoughts, *closing])
    rows = folder / "rows.jsonl"
    rows.write_text("".join(json.dumps({"prompt": prompt, "answer": gold}) + "\n" for prompt, gold in asked))
    measurement = Measurement(task=str(rows), samples=per_problem, max_tokens=99999, judge=judge)
    run = ModelRun(label="made", model=str(folder / "model"))
    manifest = Manifest(measurement=measurement, models=(run,), num_problems=len(asked), num_dropped=0, versions={})
    claim_folder(folder / "eval", manifest)
    path = run.samples_path(folder / "eval")
    for start in range(0, count, 1000):
        part = range(start, min(start + 1000, count))
        append_samples(path, [_sample(model, asked[pairs[i][0]], pairs[i], thoughts[i], closing[i]) for i in part])
    return folder / "eval"


def _sample(
    model: PreTrainedTokenizerFast, asked: tuple[str, str], place: tuple[int, int], thought: str, answer: str
) -> Sample:
    ids = model.encode(f"{thought}{CLOSE}{answer}{END}", add_special_tokens=False)
    return Sample(
        problem=place[0],
        sample=place[1],
        prompt_hash=hashlib.sha256(asked[0].encode()).hexdigest(),
        prompt=asked[0],
        gold=asked[1],
        completion_ids=ids,
        text=str(model.decode(ids[:-1])),
        length=len(ids),
        think_length=0,
        sampled=len(ids),
        stop_reason="eos",
        finished=True,
        correct=None,
        answer="",
        reflections=0,
    )


def processor_seconds() -> float:
    """What this process and those that it has ended used so far."""
    return sum(os.times()[:4])


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=10_000)
    parser.add_argument("--tokens", type=int, default=1000, help="of thinking, about (%(default)s)")
    parser.add_argument("--judge", default="rule", help="or none (%(default)s)")
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = make(Path(name), args.samples, args.tokens, None if args.judge == "none" else args.judge)
        rescore(folder, Wanted(overwrite=True, workers=args.workers))
        path = folder / "samples" / "made.0.jsonl"
        before = path.read_bytes()
        began, used = time.perf_counter(), processor_seconds()
        changes = rescore(folder, Wanted(overwrite=True, workers=args.workers))
        seconds, used = time.perf_counter() - began, processor_seconds() - used
        assert path.read_bytes() == before, "what was graded before is graded as it was"
        assert not changes.any
        tokens = sum(len(json.loads(line)["completion_ids"]) for line in before.splitlines()) / args.samples
        print(
            f"{args.samples:,} samples of {tokens:,.0f} tokens, judge {args.judge}, {args.workers} workers: "
            f"{seconds:.1f} s ({used:.1f} s of processor time in all processes), byte-identical"
        )


if __name__ == "__main__":
    main()
