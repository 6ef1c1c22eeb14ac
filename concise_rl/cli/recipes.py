"""`concise-rl train` and `concise-rl check`: a recipe, and settings laid over it."""

import argparse

from concise_rl.output.lines import add_json_argument
from concise_rl.sweep.cli import arrange_settings

OPTIONS_OF_CHECK = {"--gpus": 1, "--accelerate": 1, "--json": 0}
"""They may stand among the settings of a recipe; how many words follow each."""


def run_train(args: argparse.Namespace) -> None:
    """Train by a recipe, in this process. For several processes: accelerate launch -m concise_rl.train."""
    from concise_rl.recipe.parse import parse_recipe
    from concise_rl.train.run import run

    run(parse_recipe(args.recipe, args.overrides))


def run_check(args: argparse.Namespace) -> None:
    """Say whether a recipe would start, and what it would do."""
    from concise_rl.recipe.check import check_recipe

    check_recipe(args.recipe, args.overrides, args.gpus, args.accelerate, as_json=args.json)


def arrange(argv: list[str]) -> list[str]:
    """The words of `train` and `check` as their parser takes them: the recipe first, whether or not after --config, and
    --help, wherever it stands, alone. All that follows the recipe is settings."""
    if argv and argv[0] == "sweep":
        return ["sweep", *arrange_settings(argv[1:])]
    if not argv or argv[0] not in ("train", "check"):
        return argv
    command, *words = argv
    if {"-h", "--help"} & {*words}:
        return [command, "--help"]
    own = OPTIONS_OF_CHECK if command == "check" else {}
    joined = tuple(f"{option}=" for option in ("--config", *own))
    words = [part for word in words for part in (word.split("=", 1) if word.startswith(joined) else [word])]
    options = [word for option, values in own.items() for word in _taken(words, option, values)]
    recipe = _taken(words, "--config", 1)[1:]
    return [command, *options, *recipe, *words]


def _taken(words: list[str], option: str, values: int) -> list[str]:
    """An option and its values, taken out of the words; nothing where it is not there."""
    if option not in words:
        return []
    at = words.index(option)
    end = at + 1 + values
    taken, words[at:end] = words[at:end], []
    return taken


def help_on_keys() -> str:
    """The keys of a recipe, which cost an import of TRL."""
    from concise_rl.recipe.parse import keys_help

    return keys_help()


def add_train_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `concise-rl train`."""
    parser.add_argument("recipe", metavar="RECIPE", help="YAML file of settings")
    parser.add_argument(
        "overrides",
        nargs=argparse.REMAINDER,
        metavar="--key value",
        help="settings laid over the recipe, e.g. --learning_rate 2e-6 --objective_options.alpha 0.4",
    )


def add_check_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `concise-rl check`."""
    parser.add_argument(
        "--gpus",
        metavar="NxGB",
        help="say whether it would fit such GPUs, and how full they would be, e.g. 8x80: eight cards that are sold "
        "with 80 GB each; 16x8x80 are as many on each of 16 machines. No GPU is needed for that, and no hub",
    )
    parser.add_argument(
        "--accelerate",
        metavar="FILE",
        help="the accelerate configuration that it would be started with; the one that the recipe's own command names "
        "unless given",
    )
    add_json_argument(
        parser, "whether it is ok, what it would do, hints, and what is wrong. The exit code is 1 where it is not ok"
    )
    add_train_arguments(parser)
