"""The command `concise-rl`. Each subcommand imports what it needs when it runs, so that help is instant."""

import argparse
import logging
import os
import sys
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

from pydantic import ValidationError

from concise_rl.convert import add_convert_arguments, run_convert
from concise_rl.errors import EngineError, in_a_line
from concise_rl.evaluate.cli import (
    add_eval_arguments,
    add_judge_arguments,
    add_report_arguments,
    run_eval,
    run_judge,
    run_report,
)
from concise_rl.rollout.serve import add_serve_arguments, run_serve

Command = Callable[[argparse.Namespace], None]
OPTIONS_OF_CHECK = ("--gpus", "--accelerate")
"""They may stand among the settings of a recipe."""


def run_train(args: argparse.Namespace) -> None:
    """Train by a recipe, in this process. For several processes: accelerate launch -m concise_rl.train."""
    from concise_rl.recipe import parse_recipe
    from concise_rl.train import run

    run(parse_recipe(args.recipe, args.overrides))


def run_check(args: argparse.Namespace) -> None:
    """Say whether a recipe would start, and what it would do."""
    from concise_rl.check import check_recipe

    check_recipe(args.recipe, args.overrides, args.gpus, args.accelerate)


def arrange(argv: list[str]) -> list[str]:
    """The words of `train` and `check` as their parser takes them: the recipe first, whether or not after --config, and
    --help, wherever it stands, alone. All that follows the recipe is settings."""
    if not argv or argv[0] not in ("train", "check"):
        return argv
    command, *words = argv
    if {"-h", "--help"} & {*words}:
        return [command, "--help"]
    first = OPTIONS_OF_CHECK if command == "check" else ()
    joined = tuple(f"{option}=" for option in ("--config", *first))
    words = [part for word in words for part in (word.split("=", 1) if word.startswith(joined) else [word])]
    options = [word for option in first for word in _taken(words, option)]
    recipe = _taken(words, "--config")[1:]
    return [command, *options, *recipe, *words]


def _taken(words: list[str], option: str) -> list[str]:
    """An option and its value, taken out of the words; nothing where it is not there."""
    if option not in words:
        return []
    at = words.index(option)
    taken, words[at : at + 2] = words[at : at + 2], []
    return taken


class HelpWithKeys(argparse.Action):
    """Help that ends with the keys of a recipe, which cost an import of TRL."""

    def __call__(self, parser: argparse.ArgumentParser, namespace: Any, values: Any, option_string: Any = None) -> None:
        """Print and end."""
        from concise_rl.recipe import keys_help

        print(f"{parser.format_help()}\n{keys_help()}")
        parser.exit()


def run_methods(args: argparse.Namespace) -> None:
    """Print the table of methods, or one method with its options."""
    from concise_rl.methods import print_methods

    print_methods(args.name)


def _add_recipe_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-h", "--help", action=HelpWithKeys, nargs=0, help="show this, and the keys of a recipe")
    parser.add_argument("recipe", metavar="RECIPE", help="YAML file of settings")
    parser.add_argument(
        "overrides",
        nargs=argparse.REMAINDER,
        metavar="--key value",
        help="settings laid over the recipe, e.g. --learning_rate 2e-6 --objective_options.alpha 0.4",
    )


def _add_check_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--gpus",
        metavar="NxGB",
        help="say whether it would fit such GPUs, and how full they would be, e.g. 8x80: eight cards that are sold "
        "with 80 GB each. No GPU is needed for that, and no hub",
    )
    parser.add_argument(
        "--accelerate",
        metavar="FILE",
        help="the accelerate configuration that it would be started with; the one that the recipe's own command names "
        "unless given",
    )
    _add_recipe_arguments(parser)


def build_parser() -> argparse.ArgumentParser:
    """The parser of all subcommands."""
    parser = argparse.ArgumentParser(
        prog="concise-rl", description="Teach reasoning models to stop when they have enough."
    )
    parser.add_argument("--version", action="version", version=f"concise_rl {version('concise_rl')}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    table: list[tuple[str, str, Callable[[argparse.ArgumentParser], None], Command]] = [
        ("train", "train a model by a recipe", _add_recipe_arguments, run_train),
        ("eval", "sample models and a baseline on a task, report the tokens saved", add_eval_arguments, run_eval),
        ("report", "write the report again from the samples of an evaluation", add_report_arguments, run_report),
        ("judge", "show how far a judge of redundant tokens can be believed", add_judge_arguments, run_judge),
        ("methods", "list the methods, what they need and their options", _add_methods_arguments, run_methods),
        ("check", "check a recipe without training", _add_check_arguments, run_check),
        ("convert", "write a GGUF file as a model folder", add_convert_arguments, run_convert),
        ("serve", "serve a model with vLLM, for training and evaluation", add_serve_arguments, run_serve),
    ]
    for name, text, add_arguments, command in table:
        has_help = add_arguments in (_add_recipe_arguments, _add_check_arguments)
        sub = commands.add_parser(name, help=text, description=text, add_help=not has_help)
        add_arguments(sub)
        sub.set_defaults(command=command)
    return parser


def _add_methods_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", nargs="?", default=None, help="show this method's options in full")


def main(argv: list[str] | None = None) -> None:
    """Entry point. What is wrong with the input is said in a line, not a traceback."""
    args = build_parser().parse_args(arrange(sys.argv[1:] if argv is None else argv))
    logging.basicConfig(format="%(levelname)s: %(message)s")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    if os.getcwd() not in sys.path:  # for classes of the user's own, which a recipe names by their dotted path
        sys.path.insert(0, os.getcwd())
    try:
        args.command(args)
    except ValidationError as error:
        sys.exit(f"error: {in_a_line(error)}")
    except (ValueError, EngineError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
