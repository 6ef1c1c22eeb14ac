"""The subcommand `concise-rl try`."""

import argparse
import json
from contextlib import nullcontext
from typing import TYPE_CHECKING

from concise_rl.evaluate.defaults import TINY_CAP, settle
from concise_rl.evaluate.options import (
    DEFAULT,
    TASKS,
    add_engine_options,
    add_prompt_options,
    add_sampling_options,
    add_source_options,
    add_truncation_options,
)
from concise_rl.evaluate.spec import Measurement, is_url
from concise_rl.output.lines import add_json_argument, console_for

if TYPE_CHECKING:
    from concise_rl.evaluate.ask.question import Question
    from concise_rl.evaluate.ask.run import Asked


def add_try_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `concise-rl try`."""
    parser.add_argument(
        "model", metavar="MODEL", help="a folder, a hub id, one that ships (tiny:base), or the URL of a vLLM server"
    )
    parser.add_argument("question", metavar="QUESTION", nargs="*", help="what to ask (default: a question of --task)")
    what = parser.add_argument_group("what is asked, and who")
    what.add_argument("--against", metavar="MODEL", help="another model to ask the same, shown beside the first")
    what.add_argument("--gold", metavar="ANSWER", help="the right answer to QUESTION, if you know it")
    what.add_argument(
        "--task",
        metavar="TASK",
        help=f"where the question is from: {TASKS} (default: what the model was trained on)",
    )
    what.add_argument("--index", type=int, metavar="N", help="number of the question in the task (0)")
    add_source_options(what)
    how = parser.add_argument_group("how it is asked")
    how.add_argument(
        "--max-tokens",
        type=int,
        metavar="T",
        help=f"cap on completion tokens (default: {TINY_CAP} for tiny:sums, else {DEFAULT['max_tokens']}, as far as "
        "the context goes)",
    )
    add_sampling_options(how)
    add_truncation_options(how)
    add_engine_options(how)
    add_prompt_options(how)
    add_json_argument(parser, "one line for each reply, with the parts of its text, its verdict and its tokens")


def run_try(args: argparse.Namespace) -> None:
    """Ask, show the replies as they come, and say what they took.

    Raises:
        ValueError: for arguments or a question that cannot be used, and for a model that is not there.
        EngineError: when a server is not there, or fails.
    """
    args.question = " ".join(args.question) if args.question else None
    _check(args)
    console = console_for(args.json)
    on_screen = console.is_terminal and not console.is_dumb_terminal
    with console.status("Loading ...") if on_screen else nullcontext():  # torch alone takes seconds
        from huggingface_hub.utils import enable_progress_bars
        from transformers.utils import logging

        from concise_rl.evaluate.ask.question import check_gold
        from concise_rl.evaluate.ask.run import ask
        from concise_rl.evaluate.ask.show import Plain, Screen
        from concise_rl.verify.pool import VerifierPool

        logging.disable_progress_bar()  # of loading, which is short; and of downloading, which is not
        enable_progress_bars()
        measurement, question, models = prepare(args)
        pool = VerifierPool(measurement.verifier)
        check_gold(question, pool)
    view = Screen(console, question, [model.title for model in models]) if on_screen else Plain(console.file)
    with pool, view:
        replies = ask(models, question, measurement, args.max_tokens, pool, view)
    for reply in replies if args.json else ():
        print(json.dumps(reply.to_json(measurement.seed)))


def _check(args: argparse.Namespace) -> None:
    """
    Raises:
        ValueError: for arguments that do not go together.
    """
    if args.question is not None and (args.task is not None or args.index is not None):
        raise ValueError("A question and --task (or --index) are given: ask your own, or one of the task.")
    if args.question is not None and not args.question.strip():
        raise ValueError("The question is empty: give one in quotes, or none for one of --task.")
    if args.gold is not None and not args.gold.strip():
        raise ValueError("--gold is empty: give the right answer, or leave --gold out.")
    if args.index is not None and args.index < 0:
        raise ValueError(f"--index is {args.index}: the first question has number 0.")
    if args.question is None and args.gold is not None:
        raise ValueError("--gold is the right answer to a question of your own: give the question, too.")
    if is_url(args.engine) and args.against is not None and not is_url(args.against):
        raise ValueError(f"The server at {args.engine} holds one model: give --against the URL of another server.")


def prepare(args: argparse.Namespace) -> "tuple[Measurement, Question, list[Asked]]":
    """Return what is asked, how, and whom.

    Raises:
        ValueError, EngineError: see `run_try`.
    """
    from concise_rl.evaluate.ask.question import SUMS, default_task, own_question, question_of_task
    from concise_rl.evaluate.ask.run import find_model

    names = [args.model, *([args.against] if args.against else [])]
    models = [find_model(name, args.engine) for name in names]
    known = default_task([model.model for model in models])
    task = args.task or known
    if args.question is None and task is None:
        raise ValueError(f"Nothing is asked: give a question in quotes, or the task to take one from (--task {TASKS}).")
    measurement = measurement_of(args, str(task), models[0].engine)
    if args.question is None:
        return measurement, question_of_task(measurement, args.index or 0), models
    return measurement, own_question(args.question, args.gold, known == SUMS), models


def measurement_of(args: argparse.Namespace, task: str, engine: str) -> Measurement:
    """Return how the question is asked and graded.

    Args:
        args: all options that have the name of a field of `Measurement` are taken over.
        task: where the question is from, or might have been.
        engine: of the first model.

    Raises:
        ValueError: when a value is out of bounds.
    """
    given = {name: value for name, value in vars(args).items() if name in Measurement.model_fields}
    if args.question is not None and args.verifier is None:
        given["verifier"] = "math"
    values = settle(task, given)
    values |= {"engine": engine, "samples": 1, "batch_size": 1, "think_end": args.think_end or None}
    return Measurement(**values)
