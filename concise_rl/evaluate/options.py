"""Arguments that several commands share, each declared once with its help.

What a task's benchmark may set is None until `concise_rl.evaluate.defaults` settles it.
"""

import argparse
import json
from typing import Any

from concise_rl.evaluate.spec import Measurement

DEFAULT: dict[str, Any] = {name: field.default for name, field in Measurement.model_fields.items()}
"""Of each field of `Measurement`."""
TASKS = (
    "a benchmark (math500, aime24 and others; NAME=FILE is a local copy), tiny:sums, reasoning:NAME, "
    "reasoning_gym:TASK?option=value, a .jsonl or .parquet file, or a hub id"
)
"""What `--task` takes, as help says it."""
BENCHMARKS = "the benchmark's, else "
"""What help says of a default that a benchmark may set."""

Group = argparse._ArgumentGroup  # argparse has no public name for what `add_argument_group` returns


class JoinedUrls(argparse.Action):
    """Takes an option that is given several times as one text, with commas."""

    def __call__(
        self, parser: Any, namespace: argparse.Namespace, values: Any, option_string: str | None = None
    ) -> None:
        """See `argparse.Action`."""
        before = vars(namespace).get(f"{self.dest}_given")
        joined = f"{before},{values}" if before else values
        setattr(namespace, f"{self.dest}_given", joined)
        setattr(namespace, self.dest, joined)


def add_sampling_options(group: Group, temperature: float | None = None) -> None:
    """Declare how completions are drawn and graded.

    Args:
        group: of the parser.
        temperature: the default one, whatever a benchmark says; None for the benchmark's.
    """
    group.add_argument(
        "--verifier",
        metavar="VERIFIER",
        help="math, reasoning_gym, choice, exact, code (runs the model's programs, see docs/tasks.md), or a dotted "
        "path (default: by the task)",
    )
    usual = f"{BENCHMARKS}{DEFAULT['temperature']}" if temperature is None else "%(default)s"
    group.add_argument(
        "--temperature", type=float, default=temperature, metavar="T", help=f"0 for greedy (default: {usual})"
    )
    group.add_argument(
        "--seed", type=int, default=DEFAULT["seed"], metavar="N", help="of the problems and samples (%(default)s)"
    )
    group.add_argument(
        "--think-end",
        default=DEFAULT["think_end"],
        metavar="TEXT",
        help="what closes the thinking (%(default)s); '' for a model that does not think",
    )


def add_truncation_options(group: Group) -> None:
    """Declare what cuts the distribution off. A training samples the model as it is, and has no such options."""
    group.add_argument(
        "--top-p",
        type=float,
        metavar="P",
        help=f"1.0 samples the model as it is (default: {BENCHMARKS}{DEFAULT['top_p']})",
    )
    group.add_argument(
        "--top-k", type=int, metavar="N", help="likeliest tokens that are drawn from, 0 for all (default: 0)"
    )


def add_engine_options(group: Group) -> None:
    """Declare what samples, and where its model is found."""
    group.add_argument(
        "--engine",
        action=JoinedUrls,
        default=DEFAULT["engine"],
        metavar="ENGINE",
        help="transformers, vllm (in this process), or the URL of a vLLM server that holds the model; given several "
        "times, servers that share the samples (%(default)s)",
    )
    group.add_argument(
        "--data-parallel",
        type=int,
        default=DEFAULT["data_parallel"],
        metavar="N",
        help="with vllm: start N servers, on GPUs one each, and stop them at the end (%(default)s)",
    )
    group.add_argument(
        "--dtype",
        metavar="DTYPE",
        help="float32, bfloat16 or float16 (default: the checkpoint's own; with vllm on CPU float32)",
    )
    group.add_argument("--revision", metavar="REV", help="of models that are hub ids (default: main)")
    group.add_argument(
        "--trust-remote-code", action="store_true", help="whether code that comes with a model may run (default: no)"
    )


def add_prompt_options(group: Group) -> None:
    """Declare how a problem is put to the model."""
    group.add_argument(
        "--prompt-template",
        metavar="TEXT",
        help=f"text with {{prompt}} in it (default: {BENCHMARKS}the prompt alone)",
    )
    group.add_argument("--system-prompt", metavar="TEXT", help="system message (default: none)")
    group.add_argument(
        "--chat-template-kwargs",
        type=json_options,
        metavar="JSON",
        help="""what the chat template takes besides, as '{"enable_thinking": false}' (default: nothing)""",
    )


def add_source_options(group: Group, split: str = DEFAULT["split"]) -> None:
    """Declare which part of a task's data holds the problems.

    Args:
        group: of the parser.
        split: the default one.
    """
    group.add_argument("--split", metavar="SPLIT", help=f"of the task (default: {BENCHMARKS}{split})")
    for name in ("prompt", "answer"):
        group.add_argument(
            f"--{name}-column",
            metavar="NAME",
            help=f"of a file or hub data set (default: {DEFAULT[f'{name}_column']})",
        )


def json_options(text: str) -> dict[str, Any]:
    """Parse options as a JSON object.

    Raises:
        ArgumentTypeError: when it is none.
    """
    try:
        options = json.loads(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not valid JSON ({error})") from error
    if not isinstance(options, dict):
        raise argparse.ArgumentTypeError(f"{text!r} is no JSON object; options look like '{{\"name\": 1}}'")
    return options
