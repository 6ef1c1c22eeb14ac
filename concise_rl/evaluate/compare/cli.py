"""The subcommand `concise-rl compare`."""

import argparse
import shlex
import sys
from pathlib import Path

from concise_rl.evaluate.compare import MARGIN, Comparison, compare
from concise_rl.evaluate.suite.folder import is_suite
from concise_rl.output.lines import add_json_argument, console_for, print_json, print_next, say


def add_compare_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `concise-rl compare`."""
    parser.add_argument(
        "folders",
        nargs="+",
        type=Path,
        metavar="DIR",
        help="folders that `concise-rl eval` wrote, measured alike: of one task each, or of several each",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("runs/compare"),
        metavar="DIR",
        help="folder for page, JSON and plots (%(default)s)",
    )
    parser.add_argument(
        "--baseline",
        metavar="LABEL|DIR",
        help="the label that savings are counted from, or the folder whose baseline it is (default: the baseline that "
        "the folders share)",
    )
    add_json_argument(parser, "what compare.json holds: every number of the page, by model and by pair")
    parser.add_argument(
        "--markdown",
        action="store_true",
        help="write the tables to stdout as Markdown, that for a README first, and all text for people to stderr",
    )
    _add_row_arguments(parser)


def _add_row_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the rows of the table are called, and how they are ordered and compared."""
    parser.add_argument(
        "--label",
        action="append",
        default=[],
        type=split_label,
        metavar="DIR=NAME",
        help="call the method in DIR by another name; DIR/LABEL=NAME where DIR holds several. May be given several "
        "times. The same name for several models: training seeds of one method, which are pooled. Otherwise models "
        "are pooled only where their recorded recipes differ in the seed alone",
    )
    parser.add_argument(
        "--sort",
        metavar="COLUMN",
        help="accuracy, tokens, saved, change, aes, redundant, short, oracle or front (default: aes; without a "
        "baseline accuracy)",
    )
    parser.add_argument(
        "--margin",
        type=float,
        default=MARGIN,
        metavar="POINTS",
        help="by how much an accuracy may be lower and still pass for equal (%(default)s)",
    )
    add_pair_argument(parser)


def add_pair_argument(parser: argparse._ActionsContainer) -> None:
    """Declare `--pair`."""
    parser.add_argument(
        "--pair",
        nargs=2,
        action="append",
        default=[],
        metavar=("LABEL", "LABEL"),
        help="show the first minus the second in detail: accuracy, tokens, stopped short, by difficulty, and at equal "
        "tokens of the training. May be given several times",
    )


def split_label(text: str) -> tuple[str, str]:
    """Split `runs/a=grpo` into (`runs/a`, `grpo`).

    Raises:
        ArgumentTypeError: when it has no name.
    """
    place, _, name = text.rpartition("=")
    if not place or not name:
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form DIR=NAME")
    return place, name


def run_compare(args: argparse.Namespace) -> None:
    """Compare evaluations, and show the comparison. No model is loaded.

    Raises:
        ValueError: when the folders cannot be compared.
    """
    if args.json and args.markdown:
        raise ValueError("--json and --markdown both write to stdout: give one of them.")
    if any(map(is_suite, args.folders)):
        _run_suites(args)
        return
    pairs = [(first, second) for first, second in args.pair]
    found = compare(args.folders, args.out, args.label, args.baseline, args.sort, args.margin, pairs=pairs)
    if args.json:
        print_json(found.report)
    elif args.markdown:
        from concise_rl.evaluate.compare.table import markdown_tables

        print(markdown_tables(found.report))
    show(found, to_stderr=args.json or args.markdown)
    if not args.json and not args.markdown:
        again = shlex.join(["concise-rl", *sys.argv[1:], "--markdown"])
        print_next(console_for(False), [(again, "the table for a README")])


def _run_suites(args: argparse.Namespace) -> None:
    """Compare suites, and show their means.

    Raises:
        ValueError: when they cannot be compared, or a pair is chosen.
    """
    if args.pair:
        raise ValueError("--pair is for evaluations of one task: give the folder of a task in each suite.")
    from concise_rl.evaluate.suite.compare import compare_suites
    from concise_rl.evaluate.suite.text import headline, markdown_table, terminal_table

    found = compare_suites(args.folders, args.out, args.label, args.baseline, args.sort, args.margin)
    if args.json:
        print_json(found.report)
    elif args.markdown:
        print(markdown_table(found.report))
    console = console_for(args.json or args.markdown)
    console.print(terminal_table(found.report))
    for note in found.report["notes"]:
        say(console, f"Note: {note}")
    for warning in found.report["warnings"]:
        say(console, f"Warning: {warning}", "yellow", wrap=True)
    say(console, f"First by {found.report['sorted_by']}. {headline(found.report)}", "bold", wrap=True)
    say(console, f"Page: {found.page}")


def show(found: Comparison, to_stderr: bool = False) -> None:
    """Print the table, what it means, and where the page is."""
    from concise_rl.evaluate.compare.table import terminal_grids, terminal_table
    from concise_rl.evaluate.compare.wording import advice, failure, first_sentence, front_sentence

    report, console = found.report, console_for(to_stderr)
    console.print(terminal_table(report))
    for grid in terminal_grids(report):
        console.print(grid)
    for run in report["failed"]:
        say(console, f"Failed: {failure(run)}: {run['reason']}", "red", wrap=True)
    for note in report["notes"]:
        say(console, f"Note: {note}")
    for warning in report["warnings"]:
        say(console, f"Warning: {warning}", "yellow", wrap=True)
    for line in filter(None, (first_sentence(report), front_sentence(report), advice(report))):
        say(console, line, "bold", wrap=True)
    say(console, f"Page: {found.page}")
