"""Time of one training step of the embedded reasoner, and of its parts.

    python -m tests.bench.step rollouts [--repeats 5]    # vLLM beside the trainer, against TRL's default generate
    python -m tests.bench.step aborts [--repeats 5]      # GFPO's rollouts, with and without giving up members
    python -m tests.bench.step step [--repeats 3]        # the whole step, by engine, split into its parts
    python -m tests.bench.step overhead [--repeats 9]    # this project's trainer against TRL's, on the same rollouts

All sides run in one process, in turn. Medians, least and greatest of each side, and of its ratio to the first, pair by
pair. `--threads 2` for both of two cores; one thread otherwise.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from trl import GRPOConfig, GRPOTrainer

from concise_rl import ConciseConfig, ConciseTrainer, load_rows, to_messages
from concise_rl.files import MARKER
from concise_rl.models.resolve import resolve_model
from concise_rl.rollout.engine import Asked, Completion, Request, Sampling, derive_seed
from concise_rl.rollout.engines.transformers import TransformersEngine, load_engine
from concise_rl.rollout.engines.vllm import VllmEngine, load_vllm_engine
from concise_rl.rollout.shortest import ShortestOnly
from concise_rl.verify.pool import VerifierPool
from reward import Grpo

ROWS, GROUP, CAP = 128, 8, 320
RECIPE, TRAINED = "recipes/tiny/grpo_lambda.yaml", Path("runs/tiny/grpo_lambda")
SETTINGS: dict[str, Any] = {
    "max_steps": 1000,
    "per_device_train_batch_size": ROWS,
    "num_generations": GROUP,
    "max_completion_length": CAP,
    "temperature": 1.0,
    "learning_rate": 1e-7,  # the lengths stay as they are
    "bf16": False,
    "use_cpu": True,
    "save_strategy": "no",
    "report_to": "none",
    "disable_tqdm": True,
    "logging_steps": 1000,
    "gradient_checkpointing": False,
}


def spread(values: Sequence[float]) -> str:
    """Median, least and greatest."""
    return f"{statistics.median(values):6.2f} ({min(values):.2f} to {max(values):.2f})"


def table(seconds: dict[str, list[float]], more: Callable[[str], str] = lambda name: "") -> None:
    """A line for each side; ratios to the first, pair by pair."""
    first = next(iter(seconds.values()))
    for name, own in seconds.items():
        ratios = [mine / its for mine, its in zip(own, first, strict=True)]
        print(f"{name:42} {spread(own)} s   x {spread(ratios)}   {more(name)}")


def sums(rows: int, terms: int) -> list[str]:
    """Problems of so many terms; the reasoner was trained on up to 6."""
    task = f"reasoning_gym:chain_sum?min_terms={terms}&max_terms={terms}&min_digits=1&max_digits=1"
    return [row["prompt"] for row in load_rows(task, num_rows=rows)]


def as_drawn() -> list[str]:
    """Problems as the reasoner knows them, each repeated for its group."""
    return [row["prompt"] for row in load_rows("tiny:sums", num_rows=ROWS // GROUP) for _ in range(GROUP)]


def heavy_tailed() -> list[str]:
    """Problems that a policy which has learnt to stop answers at once, and one in sixteen of twice the terms that it
    knows, on which it never ends."""
    return [*as_drawn()[: ROWS - ROWS // 16], *sums(ROWS // 16, 12)]


def trained() -> str:
    """The reasoner that has learnt to stop; trained now unless it is there."""
    if not (TRAINED / MARKER).is_file():
        print(f"Training {TRAINED} by {RECIPE} first, once: about 6 minutes.", flush=True)
        command = [sys.executable, "-m", "concise_rl.train", "--config", RECIPE, "--output_dir", str(TRAINED)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return str(TRAINED)


def rollouts(repeats: int) -> None:
    """The rollouts alone: of the reasoner, and of one that has learnt to stop."""
    for title, model, problems in (
        ("lengths as drawn", "tiny:base", as_drawn()),
        ("heavy-tailed", trained(), heavy_tailed()),
    ):
        plain, vllm = load_engine(model, batch_size=ROWS), load_vllm_engine(model, max_tokens=CAP)
        prompts = prompts_of(plain.tokenizer, problems)
        seconds: dict[str, list[float]] = {}
        lengths: dict[str, list[int]] = {}
        for repeat in range(-1, repeats):  # the first round warms up
            for name, side in rollout_sides(plain, vllm, prompts, repeat + 1).items():
                began = time.perf_counter()
                found = side()
                if repeat >= 0:
                    seconds.setdefault(name, []).append(time.perf_counter() - began)
                    lengths.setdefault(name, []).extend(found)
        vllm.close()
        print(f"\n{title}: {model}")
        table(seconds, lambda name, of=lengths: described(of[name], repeats))


def rollout_sides(
    plain: TransformersEngine, vllm: VllmEngine, prompts: list[list[int]], seed: int
) -> dict[str, Callable[[], list[int]]]:
    """Ways of sampling a batch; each returns the lengths."""
    requests = [Request(prompt, CAP, derive_seed(seed, i)) for i, prompt in enumerate(prompts)]
    return {
        "generate, one call (TRL's default)": lambda: whole(plain, prompts, seed),
        "this project, transformers": lambda: sizes(plain.generate(Asked(requests, Sampling()))),
        "this project, vLLM colocated": lambda: sizes(vllm.generate(Asked(requests, Sampling(logprobs=True)))),
    }


def aborts(repeats: int) -> None:
    """GFPO, 8 problems x 16, of which the 8 shortest of each are trained on."""
    keep, group = 8, 16
    vllm = load_vllm_engine("tiny:base", max_tokens=CAP)
    asked = prompts_of(vllm.tokenizer, as_drawn()[::GROUP][: ROWS // group])
    prompts = [prompt for prompt in asked for _ in range(group)]
    seconds: dict[str, list[float]] = {"every rollout ends": [], "given up early": []}
    tokens: dict[str, list[int]] = {name: [] for name in seconds}
    for repeat in range(-1, repeats):
        requests = [Request(prompt, CAP, derive_seed(repeat + 1, i)) for i, prompt in enumerate(prompts)]
        for name in seconds:
            give_up = ShortestOnly(keep, lambda row: row // group) if name == "given up early" else None
            began = time.perf_counter()
            found = sizes(vllm.generate(Asked(requests, Sampling(logprobs=True), give_up=give_up)))
            if repeat >= 0:
                seconds[name].append(time.perf_counter() - began)
                tokens[name].append(sum(found))
    table(seconds, lambda name: f"{statistics.mean(tokens[name]):.0f} tokens")


def prompts_of(tokenizer: Any, problems: list[str]) -> list[list[int]]:
    """As the reasoner reads them."""
    chats = [[{"role": "user", "content": problem}] for problem in problems]
    return [tokenizer.apply_chat_template(chat, add_generation_prompt=True)["input_ids"] for chat in chats]


def sizes(completions: list[Completion]) -> list[int]:
    """Their lengths."""
    return [len(completion.ids) for completion in completions]


def described(lengths: list[int], repeats: int) -> str:
    """What the rows were like."""
    at_cap = sum(length == CAP for length in lengths) / len(lengths)
    return f"{sum(lengths) / repeats:.0f} tokens, median row {statistics.median(lengths):.0f}, {at_cap:.1%} at the cap"


def whole(engine: TransformersEngine, prompts: list[list[int]], seed: int) -> list[int]:
    """One call of `generate`, as TRL makes it."""
    inputs = engine.tokenizer.pad({"input_ids": prompts}, padding_side="left", return_tensors="pt")
    torch.manual_seed(seed)
    out = engine.model.generate(**inputs, max_new_tokens=CAP, do_sample=True, disable_compile=True)
    return (out[:, inputs["input_ids"].size(1) :] != engine.tokenizer.pad_token_id).sum(dim=1).tolist()


def problems() -> Dataset:
    """Training rows."""
    return to_messages(load_rows("tiny:sums", num_rows=512))


def ours(**settings: Any) -> ConciseTrainer:
    """This project's trainer."""
    config = ConciseConfig(output_dir=tempfile.mkdtemp(), verifier="reasoning_gym", **{**SETTINGS, **settings})
    return ConciseTrainer("tiny:base", config, problems(), objective=Grpo())


class Stepper:
    """A trainer that is stepped from outside."""

    def __init__(self, trainer: GRPOTrainer) -> None:
        self.trainer = trainer
        trainer.create_optimizer_and_scheduler(1000)
        self.batches = iter(trainer.get_train_dataloader())
        trainer.model.train()
        trainer.current_gradient_accumulation_steps = 1

    def step(self) -> float:
        """One optimizer step. Returns seconds."""
        batch = next(self.batches)
        began = time.perf_counter()
        self.trainer.training_step(self.trainer.model, batch, None)
        self.trainer.optimizer.step()
        self.trainer.optimizer.zero_grad()
        self.trainer.state.global_step += 1
        return time.perf_counter() - began


def steps(repeats: int) -> None:
    """Whole steps, by engine."""
    sides = {
        "TRL's default generate": TrlsGenerate(ours()),
        "transformers engine": Stepper(ours()),
        "vLLM, importance ratio corrected": Stepper(ours(use_vllm=True)),
        "vLLM, not corrected": Stepper(ours(use_vllm=True, vllm_importance_sampling_correction=False)),
    }
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    parts: dict[str, list[dict[str, float]]] = {name: [] for name in sides}
    for repeat in range(-1, repeats):
        for name, side in sides.items():
            spent = side.step()
            if repeat >= 0:
                seconds[name].append(spent)
                parts[name].append(dict(side.trainer._seconds) | {"all": spent})

    def split(name: str) -> str:
        found = {
            part: statistics.median(p.get(part, 0.0) for p in parts[name]) for part in ("rollout", "verify", "sync")
        }
        rest = statistics.median(p["all"] - sum(p.get(part, 0.0) for part in found) for p in parts[name])
        return ", ".join(f"{part} {value:.2f}" for part, value in (found | {"train": rest}).items())

    table(seconds, split)


class TrlsGenerate(Stepper):
    """Rolls out by TRL's own generation."""

    def __init__(self, trainer: ConciseTrainer) -> None:
        from concise_rl.rollout.sync.links import OfTrl

        trainer.rollouts.collector = replace(trainer.rollouts.collector, engine=OfTrl(trainer))
        super().__init__(trainer)


def overhead(repeats: int) -> None:
    """This project's trainer and TRL's own, fed the same completions, judged by the same verifier."""
    fixed = fixed_completions()
    mine = ours()
    mine.rollouts.collector = replace(mine.rollouts.collector, engine=Replay(fixed))
    theirs = of_trl(fixed)
    sides = {"TRL's GRPOTrainer": Stepper(theirs), "this project's": Stepper(mine)}
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    processor: dict[str, list[float]] = {name: [] for name in sides}
    for repeat in range(-2, repeats):
        order = list(sides.items()) if repeat % 2 else list(reversed(sides.items()))
        for name, side in order:
            before = time.process_time()
            spent = side.step()
            if repeat >= 0:
                seconds[name].append(spent)
                processor[name].append(time.process_time() - before)
    print("wall clock")
    table(seconds)
    print("processor time of the training process (a busy machine moves it less)")
    table(processor)


def fixed_completions() -> list[list[int]]:
    """Completions of the reasoner, to be fed to both sides; which problem they belong to costs neither any time."""
    engine = load_engine("tiny:base", batch_size=ROWS)
    requests = [Request(prompt, CAP, i) for i, prompt in enumerate(prompts_of(engine.tokenizer, as_drawn()))]
    return [completion.ids for completion in engine.generate(Asked(requests, Sampling()))]


class Replay:
    """An engine that has its completions already."""

    def __init__(self, ids: list[list[int]]) -> None:
        self.completions = [Completion(row, 0) for row in ids]

    def generate(self, asked: Asked) -> list[Completion]:
        """See `Engine.generate`."""
        return self.completions[: len(asked.requests)]


def of_trl(fixed: list[list[int]]) -> GRPOTrainer:
    """TRL's trainer with the same verifier, answers read from the completions as a TRL user would."""
    pool = VerifierPool("reasoning_gym")

    def correct(prompts: list, completions: list, **columns: Any) -> list[float | None]:
        rows = [
            {name: values[i] for name, values in columns.items() if isinstance(values, list)}
            for i in range(len(prompts))
        ]
        answers = [completion[0]["content"].rpartition("</think>")[2] for completion in completions]
        return pool.judge(list(zip(answers, rows, strict=True)))

    def replay(prompts: list, trainer: GRPOTrainer) -> dict[str, Any]:
        return {"prompt_ids": trainer._tokenize_prompts(prompts)[0], "completion_ids": fixed, "logprobs": None}

    return GRPOTrainer(
        resolve_model("tiny:base"),
        correct,
        args=GRPOConfig(output_dir=tempfile.mkdtemp(), **SETTINGS),
        train_dataset=problems(),
        rollout_func=replay,
    )


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    benches = {"rollouts": (rollouts, 5), "aborts": (aborts, 5), "step": (steps, 3), "overhead": (overhead, 9)}
    parser.add_argument("what", choices=benches)
    parser.add_argument("--repeats", type=int)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    bench, repeats = benches[args.what]
    print(f"{ROWS} rows, cap {CAP}, {args.threads} thread(s), {args.repeats or repeats} repeats")
    bench(args.repeats or repeats)


if __name__ == "__main__":
    main()
