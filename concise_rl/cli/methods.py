"""`concise-rl methods`."""

import argparse

from concise_rl.output.lines import add_json_argument, print_json


def add_methods_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `concise-rl methods`."""
    parser.add_argument("name", nargs="?", metavar="METHOD", help="show this method's options in full")
    add_json_argument(
        parser, "of each method its name, summary, paper, scope, needs, and options as a JSON schema has them"
    )


def run_methods(args: argparse.Namespace) -> None:
    """Print the table of methods, or one method with its options.

    Raises:
        ValueError: for an unknown method, naming the nearest.
    """
    from concise_rl.cli.methods_table import describe_methods, print_methods

    if args.json:
        print_json(describe_methods(args.name))
    else:
        print_methods(args.name)
