"""The subcommand `concise-rl rescore`."""

import argparse
from pathlib import Path
from typing import Any

from concise_rl.evaluate.options import json_options
from concise_rl.output.lines import add_json_argument, console_for, print_json, say


def add_rescore_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `concise-rl rescore`."""
    parser.add_argument("folder", type=Path, metavar="DIR", help="folder that `concise-rl eval` wrote")
    parser.add_argument("--verifier", help="what grades the answers (default: what graded them)")
    parser.add_argument(
        "--judge",
        metavar="JUDGE",
        help="who reads the thinking of right samples: rule, model, oracle, a class's dotted path, or none (default: "
        "who read it)",
    )
    parser.add_argument(
        "--judge-options",
        type=json_options,
        metavar="JSON",
        help="its options (default: those there; none with --judge)",
    )
    parser.add_argument(
        "--think-end",
        metavar="TEXT",
        help="text that closes the thinking, where another was given by mistake; '' for none (default: the one there)",
    )
    parser.add_argument(
        "--model",
        metavar="MODEL",
        help="whose tokenizer wrote the samples, where the evaluated models are gone (default: the models themselves)",
    )
    where = parser.add_argument_group("where the result goes (default: nowhere, changes are counted alone)")
    where.add_argument("--out", type=Path, metavar="DIR2", help="a new evaluation's folder, with its report")
    where.add_argument(
        "--overwrite", action="store_true", help="replace the samples and the report in DIR, or with --out in DIR2"
    )
    parser.add_argument(
        "--workers", type=int, default=2, metavar="N", help="processes that grade side by side (default: %(default)s)"
    )
    add_json_argument(parser, "how many verdicts and labels changed, by model, and examples")


def run_rescore(args: argparse.Namespace) -> None:
    """Grade stored samples again, and say what changed.

    Raises:
        ValueError: for a folder, a verifier, a judge or a tokenizer that cannot be used.
    """
    from concise_rl.evaluate.report import write_report
    from concise_rl.evaluate.rescore.run import Wanted, rescore

    wanted = Wanted(changes_of(args), args.model, args.out, args.overwrite, args.workers)
    changes = rescore(args.folder, wanted)
    console = console_for(args.json)
    say(console, "\n".join(changes.lines()))
    if wanted.writes:
        write_report(args.out or args.folder)
        say(console, f"Page: {(args.out or args.folder) / 'report.html'}")
    else:
        say(console, "Nothing was written: give --out DIR2, or --overwrite for the folder itself.")
    if args.json:
        print_json(changes.to_json())


def changes_of(args: argparse.Namespace) -> dict[str, Any]:
    """Return the settings of the measurement that are named."""
    changes: dict[str, Any] = {}
    if args.verifier is not None:
        changes["verifier"] = args.verifier
    if args.judge is not None:
        changes |= {"judge": None if args.judge == "none" else args.judge, "judge_options": None}
    if args.judge_options is not None:
        changes["judge_options"] = args.judge_options
    if args.think_end is not None:
        changes["think_end"] = args.think_end or None
    return changes
