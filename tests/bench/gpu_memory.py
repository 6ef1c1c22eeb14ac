"""What `concise-rl check` expects of a GPU's memory, against what a step takes there.

    python -m tests.bench.gpu_memory [--out rows.jsonl] [CASE ...]     # all cases unless named; a process for each
    python -m tests.bench.gpu_memory --list

Two training steps of a model of known shape with random weights, on completions that are made up, each as long as the
cap, behind prompts of 1,024 tokens. Measured: what is allocated when the backward passes of the second step are done
(states), the most that was allocated, and what the allocator had reserved. Expected: what `concise-rl check` says.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import yaml
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
from trl import get_peft_config

from concise_rl import ConciseTrainer, to_messages
from concise_rl.models.resolve import resolve_model
from concise_rl.reading.trace import StopReason
from concise_rl.recipe.fit.facts import Facts, known_facts
from concise_rl.recipe.fit.hardware import Gpus, Launch
from concise_rl.recipe.fit.memory import GIB, Strategy
from concise_rl.recipe.fit.setup import USUAL_PROMPT, Setup
from concise_rl.recipe.parse import Recipe, parse_recipe
from concise_rl.rollout.engine import Asked, Completion

GROUP = 8
LORA = {"use_peft": True, "lora_r": 16, "lora_target_modules": "all-linear", "dtype": "bfloat16"}
CASES: dict[str, tuple[str, int, int, dict[str, Any]]] = {
    "0.6B": ("Qwen/Qwen3-0.6B", 1, 4096, {}),
    "0.6B, activations kept": ("Qwen/Qwen3-0.6B", 1, 4096, {"gradient_checkpointing": False}),
    "0.6B, 8 rows at once": ("Qwen/Qwen3-0.6B", 8, 2048, {}),
    "0.6B, 8 rows, one a forward": ("Qwen/Qwen3-0.6B", 8, 2048, {"rows_per_forward": 1}),
    "1.7B": ("Qwen/Qwen3-1.7B", 1, 8192, {}),
    "1.7B, 8 rows over their tree": ("Qwen/Qwen3-1.7B", 8, 2048, {"shared_prefix": True}),
    "4B, LoRA": ("Qwen/Qwen3-4B", 2, 4096, LORA),
    "4B": ("Qwen/Qwen3-4B", 1, 8192, {}),
}
"""By name: model, rows of a micro-batch, cap, and what is set besides."""


class MadeUp:
    """An engine whose completions are random tokens up to the cap."""

    def __init__(self, vocabulary: int) -> None:
        self.vocabulary = vocabulary

    def generate(self, asked: Asked) -> list[Completion]:
        """See `Engine.generate`."""
        drawn = [torch.randint(3, self.vocabulary, (request.max_tokens,)).tolist() for request in asked.requests]
        return [Completion(ids, StopReason.LENGTH) for ids in drawn]


class States(TrainerCallback):
    """Looks at what is allocated when the gradients of the last step are complete."""

    allocated = 0

    def on_pre_optimizer_step(self, *_: Any, **__: Any) -> None:
        """Before the gradients are used, and dropped."""
        self.allocated = torch.cuda.memory_allocated() if torch.cuda.is_available() else 0


def recipe_of(case: str, folder: Path, overrides: list[str]) -> Recipe:
    """The recipe of a case."""
    name, rows, cap, settings = CASES[case]
    content = {
        "model_name_or_path": name,
        "dtype": "float32",
        "attn_implementation": "sdpa",
        "dataset": "tiny:sums",
        "verifier": "exact",
        "think_end": "</think>",
        "objective": "grpo",
        "num_generations": GROUP,
        "max_completion_length": cap,
        "output_dir": str(folder / "run"),
        "max_steps": 2,
        "per_device_train_batch_size": rows,
        "gradient_accumulation_steps": GROUP // rows,
        "learning_rate": 1e-6,
        "bf16": True,
        "gradient_checkpointing": True,
        "shared_prefix": False,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        **settings,
    }
    file = folder / "recipe.yaml"
    file.write_text(yaml.safe_dump(content))
    return parse_recipe(file, overrides, 1)


def trainer_of(recipe: Recipe, facts: Facts) -> ConciseTrainer:
    """Its trainer, with random weights, long prompts and completions that are made up."""
    tokenizer: Any = AutoTokenizer.from_pretrained(resolve_model("tiny:base"))
    beside = len(tokenizer.apply_chat_template([{"role": "user", "content": ""}], add_generation_prompt=True).input_ids)
    problem = tokenizer.decode(
        tokenizer("1 + " * USUAL_PROMPT, add_special_tokens=False).input_ids[: USUAL_PROMPT - beside]
    )
    device = "cpu" if recipe.training.use_cpu else "cuda"
    dtype = getattr(torch, recipe.training.model_init_kwargs["dtype"])
    with torch.device(device):
        model = AutoModelForCausalLM.from_config(facts.config, dtype=dtype, attn_implementation="sdpa")
    rows = to_messages(Dataset.from_dict({"prompt": [problem] * GROUP, "answer": ["1"] * GROUP}))
    adapters = get_peft_config(recipe.model)
    trainer = ConciseTrainer(model, recipe.training, rows, processing_class=tokenizer, peft_config=adapters)
    trainer.rollouts.collector = replace(trainer.rollouts.collector, engine=MadeUp(len(tokenizer)))
    return trainer


def measure(case: str, overrides: list[str]) -> dict[str, Any]:
    """Expected and measured bytes of a case. Nothing is measured without a GPU."""
    with tempfile.TemporaryDirectory() as folder:
        recipe = recipe_of(case, Path(folder), overrides)
        facts = known_facts(recipe.model_name)
        assert facts is not None
        setup = Setup(recipe, facts, Gpus(1, 80), Launch(Strategy("single", 1), "one process"))
        states, trainer = States(), trainer_of(recipe, facts)
        trainer.add_callback(states)
        began = time.monotonic()
        trainer.train()
    expected = setup.trainer
    found = {"case": case, "tokens": setup.training.tokens, "seconds": time.monotonic() - began}
    found |= {"expected": {"states": expected.states, "activations": expected.activations, "head": expected.head}}
    found["expected"]["peak"] = expected.peak
    if torch.cuda.is_available():
        peak, reserved = torch.cuda.max_memory_allocated(), torch.cuda.max_memory_reserved()
        found["measured"] = {"states": states.allocated, "peak": peak, "reserved": reserved}
        found["card"] = torch.cuda.get_device_name()
    return found


def line(row: dict[str, Any]) -> str:
    """A row as a line of the table, in GiB."""
    expected, measured = row["expected"], row.get("measured", {})
    cells = [
        expected["states"],
        measured.get("states"),
        expected["peak"],
        measured.get("peak"),
        measured.get("reserved"),
    ]
    return " | ".join([row["case"], f"{row['tokens']:,}", *("-" if c is None else f"{c / GIB:.1f}" for c in cells)])


def main() -> None:
    """Run and print. What is left of the words goes to the recipe, as on the command line of `concise-rl train`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", metavar="CASE", help="all unless named")
    parser.add_argument("--list", action="store_true", help="print the names of the cases")
    parser.add_argument("--out", type=Path, help="a file to which a line of JSON is added for each case")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    args, overrides = parser.parse_known_args()
    if args.list:
        print("\n".join(CASES))
        return
    if args.here:
        print(json.dumps(measure(args.cases[0], overrides)))
        return
    print("case | tokens | states expected | states | peak expected | peak | reserved")
    for case in args.cases or CASES:
        command = [sys.executable, "-m", "tests.bench.gpu_memory", "--here", case, *overrides]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            print(f"{case} | failed: {done.stderr.strip().splitlines()[-1]}", flush=True)
            continue
        row = json.loads(done.stdout.splitlines()[-1])
        print(line(row), flush=True)
        if args.out:
            with args.out.open("a") as file:
                file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
