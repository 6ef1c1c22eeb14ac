"""The command `concise-rl`. Each subcommand imports what it needs when it runs, so that help is instant."""

import logging
import os
import sys

from pydantic import ValidationError

from concise_rl.cli.commands import COMMANDS
from concise_rl.cli.parser import build_parser
from concise_rl.cli.recipes import arrange
from concise_rl.errors import AGAIN, EngineError, Interrupted, in_a_line, unknown, without_access, without_room

__all__ = ["arrange", "build_parser", "main"]

INTERRUPTED = 130
"""Exit code of a program that Ctrl-C has ended: 128 and the number of the signal."""


def main(argv: list[str] | None = None) -> None:
    """Run a command line. Wrong input, a full disk and Ctrl-C each end with one line, and no traceback.

    Args:
        argv: the words behind `concise-rl`; those of this process unless given.
    """
    try:
        _run(sys.argv[1:] if argv is None else argv)
    except BrokenPipeError:  # the reader has enough: concise-rl check --help | head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else Python complains when it flushes at exit
        sys.exit(1)
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        sys.exit(INTERRUPTED)
    except Interrupted as stop:
        print(stop, file=sys.stderr)
        sys.exit(AGAIN)
    except ValidationError as error:
        sys.exit(f"error: {in_a_line(error)}")
    except (ValueError, EngineError) as error:
        sys.exit(f"error: {error}")
    except Exception as error:
        if (said := without_room(error) or without_access(error)) is None:
            raise
        sys.exit(f"error: {said}")


def _run(argv: list[str]) -> None:
    names = [command.name for command in COMMANDS]
    if argv and not argv[0].startswith("-") and argv[0] not in names:
        raise unknown("command", argv[0], names)
    logging.basicConfig(format="%(levelname)s: %(message)s")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    if os.getcwd() not in sys.path:  # for classes of the user's own, which a recipe names by their dotted path
        sys.path.insert(0, os.getcwd())
    try:
        args = build_parser().parse_args(arrange(argv))
        args.run_command(args)
    finally:
        sys.stdout.flush()  # a closed pipe is noticed here, and not by Python at exit
