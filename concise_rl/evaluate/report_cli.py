"""The subcommand `concise-rl report`, and how a report is shown."""

import argparse
from pathlib import Path

from concise_rl.evaluate.spec import read_manifest
from concise_rl.evaluate.suite.folder import is_suite
from concise_rl.output.lines import add_json_argument, console_for, print_json, say

REPORT_JSON = "what report.json in DIR holds: accuracy, tokens, savings and their intervals, by model"


def add_report_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `concise-rl report`."""
    parser.add_argument("folder", type=Path, metavar="DIR", help="folder that `concise-rl eval` wrote")
    parser.add_argument(
        "--figures",
        action="store_true",
        help="show what else follows from the samples: accuracy within budgets, pass@k, majority@k and more, which "
        "report.json and report.html always hold",
    )
    parser.add_argument(
        "--frontier",
        type=Path,
        metavar="FILE",
        help="the best accuracy known at each budget, a JSON list of {tokens, accuracy}: REG is reported against it. A "
        "copy is kept in DIR (default: the copy in DIR, if any)",
    )
    add_json_argument(parser, REPORT_JSON)


def run_report(args: argparse.Namespace) -> None:
    """Compute the report again from the samples on disk, and show it. No model is loaded.

    Raises:
        ValueError: when samples are missing or corrupt, or the frontier is no such file.
    """
    from concise_rl.evaluate.frontier import store_frontier

    if is_suite(args.folder) and (args.figures or args.frontier):
        raise ValueError(
            f"{args.folder} is a suite: figures and a frontier are a task's. Give the folder of one in it."
        )
    if args.frontier:
        read_manifest(args.folder)  # refuses what is no evaluation's folder before anything is written there
        store_frontier(args.frontier, args.folder)
    show_report(args.folder, args.json, args.figures)


def show_report(folder: Path, as_json: bool, figures: bool = False) -> None:
    """Write the report of a folder, and show it.

    Args:
        folder: of an evaluation or a suite.
        as_json: whether stdout is for JSON.
        figures: whether to show what else follows from the samples.
    """
    from concise_rl.evaluate.figures import figures_table

    if is_suite(folder):
        from concise_rl.evaluate.suite.report import write_suite_report as write_report
        from concise_rl.evaluate.suite.text import headline, terminal_table
    else:
        from concise_rl.evaluate.report import write_report
        from concise_rl.evaluate.text import headline, terminal_table

    report = write_report(folder)
    console = console_for(as_json)
    console.print(terminal_table(report))
    if figures:
        console.print(figures_table(report))
    for warning in report["warnings"]:
        say(console, f"Warning: {warning}", "yellow", wrap=True)
    say(console, headline(report), "bold", wrap=True)
    say(console, f"Page: {folder / 'report.html'}")
    if as_json:
        print_json(report)
