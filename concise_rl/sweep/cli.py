"""Declare the subcommand `concise-rl sweep`."""

import argparse
import shlex
from pathlib import Path
from typing import Any

from concise_rl.evaluate.compare.cli import add_pair_argument
from concise_rl.output.lines import add_json_argument

OUT = Path("runs/sweep")
UNRECORDED = ("help", "json", "dry_run")
"""Options that change nothing of what comes out."""


def add_sweep_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `concise-rl sweep`."""
    parser.add_argument(
        "recipes", nargs="+", type=Path, metavar="RECIPE", help="YAML files of settings; their names name the methods"
    )
    what = parser.add_argument_group("what to train")
    what.add_argument(
        "--seeds", type=int, default=1, metavar="N", help="train each recipe with the seeds 0 to N-1 (%(default)s)"
    )
    what.add_argument(
        "--out", type=Path, default=OUT, metavar="DIR", help="folder for the runs and the comparison (%(default)s)"
    )
    what.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="key=value",
        help="a setting laid over every recipe; --key value does the same, as in --max_steps 20. `concise-rl train "
        "--help` lists the keys",
    )
    add_json_argument(parser, "what compare.json in DIR holds")
    add_pair_argument(what)
    what.add_argument("--dry-run", action="store_true", help="say what there is to do, and do nothing")
    _add_places(parser)
    _add_measuring(parser)


def _add_places(parser: argparse.ArgumentParser) -> None:
    """Declare where, and how many at a time."""
    where = parser.add_argument_group("where")
    where.add_argument("--jobs", type=int, metavar="N", help="runs that train at a time (default: 1; all on a cluster)")
    where.add_argument(
        "--accelerate",
        metavar="FILE",
        help="accelerate configuration to start every run with (default: the one that a recipe's own command names)",
    )
    where.add_argument(
        "--slurm",
        nargs="+",
        metavar="key=value",
        help="train as jobs of a cluster; keys are those of submitit, as timeout_min=600 slurm_partition=gpu",
    )


def _add_measuring(parser: argparse.ArgumentParser) -> None:
    """Declare what takes the place of what the recipes say about measuring."""
    how = parser.add_argument_group("how to measure")
    how.add_argument("--task", help="as for `concise-rl eval` (default: the recipes' own data)")
    how.add_argument("--split", help="of the task (default: test)")
    how.add_argument(
        "--problems",
        type=int,
        metavar="N",
        help="number of problems (default: as for eval)",
    )
    how.add_argument("--samples", type=int, metavar="K", help="samples of each problem (default: as for eval)")
    how.add_argument(
        "--max-tokens",
        type=int,
        metavar="T",
        help="cap on completion tokens (default: the largest of the recipes; of tiny: 512)",
    )
    how.add_argument("--eval-temperature", type=float, metavar="T", help="0 for greedy (default: 1.0)")
    how.add_argument("--eval-top-p", type=float, metavar="P", help="1.0 samples the model as it is (default: 1.0)")
    how.add_argument("--engine", help="transformers or vllm (default: vllm if a recipe samples with it)")
    how.add_argument("--batch-size", type=int, metavar="B", help="completions drawn together (default: as for eval)")
    how.add_argument("--prompt-column", metavar="NAME", help="of another task (default: prompt)")
    how.add_argument("--answer-column", metavar="NAME", help="of another task (default: answer)")


def arrange_settings(words: list[str]) -> list[str]:
    """Arrange the words of `concise-rl sweep` for its parser: the recipes first, and a recipe's `--key value` as
    `--set=key=value`.

    A setting is whatever is not an option of the command; the word behind it, unless it begins with --, is its value.
    """
    parser = argparse.ArgumentParser()
    add_sweep_arguments(parser)
    own, recipes, options, words = parser._option_string_actions, [], [], list(words)
    while words:
        word = words.pop(0)
        name, equals, _ = word.partition("=")
        if not word.startswith("-"):
            recipes.append(word)
        elif name in own:
            options += [word, *([] if equals else _values(words, own[name].nargs))]
        else:
            options.append("=".join([f"--set={word[2:]}", *([] if equals else _values(words, None))]))
    return [*recipes, *options]


def _values(words: list[str], nargs: int | str | None) -> list[str]:
    """Take the values of an option from the words behind it."""
    most = nargs if isinstance(nargs, int) else 1 if nargs is None else len(words)
    found: list[str] = []
    while words and len(found) < most and not words[0].startswith("--"):
        found.append(words.pop(0))
    return found


def command_of(args: argparse.Namespace) -> str:
    """Write the command that has these arguments: what is not as it is by default."""
    parser = argparse.ArgumentParser()
    add_sweep_arguments(parser)
    words = ["concise-rl", "sweep", *map(str, args.recipes)]
    for option in parser._actions:
        value = getattr(args, option.dest, None)
        if option.option_strings and option.dest not in UNRECORDED and value != option.default:
            words += _written(option, value)
    return shlex.join(words)


def _written(option: argparse.Action, value: Any) -> list[str]:
    """Write an option with its value, once for each value of one that may be given several times."""
    name = option.option_strings[0]
    if isinstance(option, argparse._AppendAction):
        return [word for one in value for word in (name, *([one] if isinstance(one, str) else one))]
    return [name, *(map(str, value) if isinstance(value, list) else [str(value)])]


def run_sweep(args: argparse.Namespace) -> None:
    """Train what is not trained yet, measure all, compare.

    Raises:
        ValueError: for recipes, settings, folders or problems that cannot be used, saying what to do.
    """
    # Imported where needed: `concise-rl --help` must not wait for torch.
    from concise_rl.sweep.run import run

    run(args, command_of(args))
