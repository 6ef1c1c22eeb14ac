"""Arguments that several commands share, each declared once with its help. Defaults are those of `Measurement`."""

import argparse
import json
from typing import Any

from concise_rl.evaluate.spec import Measurement

DEFAULT: dict[str, Any] = {name: field.default for name, field in Measurement.model_fields.items()}
"""Of each field of `Measurement`."""
TASKS = "tiny:sums, reasoning:NAME, reasoning_gym:TASK?option=value, a .jsonl or .parquet file, or a hub id"
"""What `--task` takes, as help says it."""

TINY_CAP = 512
"""Completion tokens at most of the embedded reasoner, whose context is short, unless the user says otherwise."""

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


def add_sampling_options(group: Group) -> None:
    """Declare how completions are drawn and graded."""
    group.add_argument(
        "--verifier",
        metavar="VERIFIER",
        help="math, reasoning_gym, choice, exact, or a dotted path (default: by the task)",
    )
    group.add_argument(
        "--temperature", type=float, default=DEFAULT["temperature"], metavar="T", help="0 for greedy (%(default)s)"
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


def add_top_p_option(group: Group) -> None:
    """Declare what cuts the distribution off. A training samples the model as it is, and has no such option."""
    group.add_argument(
        "--top-p",
        type=float,
        default=DEFAULT["top_p"],
        metavar="P",
        help="1.0 samples the model as it is (%(default)s)",
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
    group.add_argument("--prompt-template", metavar="TEXT", help="text with {prompt} in it (default: the prompt alone)")
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
    group.add_argument("--split", default=split, metavar="SPLIT", help="of the task (%(default)s)")
    group.add_argument(
        "--prompt-column",
        default=DEFAULT["prompt_column"],
        metavar="NAME",
        help="of a file or hub data set (%(default)s)",
    )
    group.add_argument(
        "--answer-column", default=DEFAULT["answer_column"], metavar="NAME", help="likewise (%(default)s)"
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


def default_cap(task: str) -> int:
    """Return the cap on completion tokens. Real reasoners need room, or the cap is all that is measured."""
    return TINY_CAP if task.startswith("tiny:") else DEFAULT["max_tokens"]
