"""`concise-rl methods`."""

import argparse


def add_methods_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `concise-rl methods`."""
    parser.add_argument("name", nargs="?", metavar="METHOD", help="show this method's options in full")


def run_methods(args: argparse.Namespace) -> None:
    """Print the table of methods, or one method with its options.

    Raises:
        ValueError: for an unknown method, naming the nearest.
    """
    from concise_rl.methods import print_methods

    print_methods(args.name)
