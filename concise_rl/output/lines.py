"""Write what a command has to say: numbers for a script on stdout, text for people beside them."""

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
    """Return where text for people goes: stdout, or stderr where stdout is for JSON."""
    return Console(stderr=as_json)


def say(console: Console, text: str, style: str = "", wrap: bool = False) -> None:
    """Write text for people as it is: brackets are no markup, and numbers get no colours.

    Args:
        console: where to.
        text: a line or several.
        style: of all of it.
        wrap: whether to break long lines between words. Without it a path or a command can be copied whole.
    """
    console.print(text, style=style, markup=False, highlight=False, soft_wrap=not wrap)


def print_next(console: Console, commands: Sequence[tuple[str, str]]) -> None:
    """Say what a reader may want to run now.

    Args:
        console: where to.
        commands: each with the reason for it, in a few words.
    """
    width = max(len(command) for command, _ in commands)
    lines = [f"  {command:{width}}  # {why}" for command, why in commands]
    say(console, "\n".join(["Next:", *lines]))


def print_json(value: Any) -> None:
    """Write one JSON value to stdout.

    Raises:
        ValueError: for NaN, which JSON does not have: an unknown number is None.
    """
    print(json.dumps(value, indent=2, allow_nan=False))


def in_words(seconds: float) -> str:
    """Write a span of time as people say it: `45 s`, `12 min`, `3 h 20 min`, `2 d 4 h`."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 100:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min"
    return f"{hours // 24} d {hours % 24} h"
