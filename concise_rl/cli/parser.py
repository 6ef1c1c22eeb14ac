"""The parser of the command line: help that begins with examples, and errors of one line."""

import argparse
from collections.abc import Callable
from importlib.metadata import version
from typing import Any, NoReturn

from concise_rl.cli.commands import COMMANDS, Command
from concise_rl.errors import unknown

WIDTH = 11
"""Columns of a command's name in the list of commands."""


class CommandParser(argparse.ArgumentParser):
    """argparse's parser, whose help has text before the usage, and whose errors are one line."""

    opening: str = ""
    """What help begins with."""
    closing: Callable[[], str] | None = None
    """Says what help ends with."""
    _mixes = False

    def format_help(self) -> str:
        """Help as argparse has it, between the opening and the closing."""
        closing = f"\n{self.closing()}\n" if self.closing else ""
        return f"{self.opening}\n{super().format_help()}{closing}"

    # The types are those of argparse, which calls it for each command.
    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[Any, list[str]]:
        """Parse as argparse does, but leave no word over.

        Raises:
            ValueError: for a word that the command does not take, naming the nearest option.
        """
        if self._mixes:  # called by `_parse`
            return super().parse_known_args(args, namespace)
        found, unread = self._parse(args, namespace)
        if not unread:
            return found, []
        option = unread[0].partition("=")[0]
        if option.startswith("-"):
            raise unknown(f"option of {self.prog}", option, (o for o in self._option_string_actions if o[:2] == "--"))
        raise ValueError(f"{self.prog} does not take {unread[0]!r}. See {self.prog} --help.")

    def _parse(self, args: Any, namespace: Any) -> tuple[Any, list[str]]:
        """Parse as argparse does, but with options between positional arguments: `try tiny:base --seed 1 "1 + 2"`."""
        if any(action.nargs in (argparse.PARSER, argparse.REMAINDER) for action in self._get_positional_actions()):
            return super().parse_known_args(args, namespace)
        self._mixes = True  # argparse comes back to `parse_known_args` for each of the two kinds
        try:
            return self.parse_known_intermixed_args(args, namespace)
        finally:
            self._mixes = False

    def error(self, message: str) -> NoReturn:
        """Say what is wrong, and where help is."""
        self.exit(2, f"error: {message}. See {self.prog} --help.\n")


class Overview(CommandParser):
    """The parser of `concise-rl` itself. Its help lists the commands by what people do."""

    def format_help(self) -> str:
        """The groups with their commands, then the options."""
        groups = dict.fromkeys(command.group for command in COMMANDS)
        listed = "\n\n".join(
            "\n".join([f"{group}:", *(_line(command) for command in COMMANDS if command.group == group)])
            for group in groups
        )
        return (
            f"{self.description}\n\nusage: {self.prog} COMMAND [options]\n\n{listed}\n\n"
            f"`{self.prog} COMMAND --help` begins with examples. `{self.prog} --version` names the version.\n"
        )


def _line(command: Command) -> str:
    return f"  {command.name:{WIDTH}} {command.summary}"


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands. A parsed command line has `run_command`, the function to call with it, and
    this `parser`."""
    parser = Overview(prog="concise-rl", description="Teach reasoning models to stop when they have enough.")
    parser.add_argument("--version", action="version", version=f"concise_rl {version('concise_rl')}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True, parser_class=CommandParser)
    for command in COMMANDS:
        _add(commands, command)
    parser.set_defaults(parser=parser)  # for `concise-rl completion`, which describes it
    return parser


def _add(commands: "argparse._SubParsersAction[CommandParser]", command: Command) -> None:
    parser = commands.add_parser(command.name, help=command.summary)
    command.add_arguments(parser)
    summary = f"{command.summary[0].upper()}{command.summary[1:]}."
    parser.opening = "\n".join([summary, "", *map("  {}".format, command.examples), ""])
    parser.closing = command.closing
    for action in parser._actions:
        # argparse demands at least one word of these two where there is no default.
        action.required &= action.nargs not in (argparse.REMAINDER, argparse.ZERO_OR_MORE)
    parser.usage = _short_usage(parser)
    parser.set_defaults(run_command=command.run)


def _short_usage(parser: argparse.ArgumentParser) -> str:
    """A usage of one line: what must be given, and whether there is more."""
    words = [action for action in parser._actions if not action.option_strings]
    needed = [action for action in parser._actions if action.option_strings and action.required]
    more = len(words) + len(needed) + 1 < len(parser._actions)  # the one is --help
    usage = f"{parser.prog}{_usage_of(words)}{_usage_of(needed)}"
    return usage.replace("%", "%%") + (" [options]" if more else "")


def _usage_of(actions: list[argparse.Action]) -> str:
    """What argparse writes of these arguments, behind a space: ` MODEL [QUESTION ...]`."""
    formatter = argparse.HelpFormatter(prog="", width=10_000)
    formatter.add_usage(None, actions, [], prefix="")
    written = formatter.format_help().strip()
    return f" {written}" if written else ""
