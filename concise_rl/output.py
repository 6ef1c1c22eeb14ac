"""What a command writes: numbers for a script on stdout, text for people beside them."""

import argparse
import json
from collections.abc import Sequence
from typing import Any

from rich.console import Console


def add_json_argument(parser: argparse.ArgumentParser, holds: str) -> None:
    """Declare `--json`.

    Args:
        parser: of the command.
        holds: what the JSON holds, for the help.
    """
    parser.add_argument(
        "--json", action="store_true", help=f"write JSON to stdout, and all text for people to stderr: {holds}"
    )


def console_for(as_json: bool) -> Console:
    """Where text for people goes: stdout, or stderr where stdout is for JSON."""
    return Console(stderr=as_json)


def print_next(console: Console, commands: Sequence[tuple[str, str]]) -> None:
    """Say what a reader may want to run now.

    Args:
        console: where to.
        commands: each with the reason for it, in a few words.
    """
    width = max(len(command) for command, _ in commands)
    lines = [f"  {command:{width}}  # {why}" for command, why in commands]
    console.print("\n".join(["Next:", *lines]), markup=False, highlight=False, soft_wrap=True)


def print_json(value: Any) -> None:
    """Write one JSON value to stdout. NaN is none: an unknown number is null."""
    print(json.dumps(value, indent=2, allow_nan=False))
