"""`concise-rl watch`: a run in the terminal, while it goes or afterwards, and its page."""

import argparse
import contextlib
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from concise_rl.output.lines import add_json_argument, console_for, print_json, say

if TYPE_CHECKING:
    from rich.console import Console

REFRESH = 2.0
"""Seconds between two looks at the files."""


def add_watch_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `concise-rl watch`."""
    parser.add_argument(
        "runs", nargs="+", type=Path, metavar="FOLDER", help="output_dir of a run; several for one table"
    )
    parser.add_argument(
        "--once", action="store_true", help="print and end, as it does where stdout is not a terminal or no run goes on"
    )
    parser.add_argument(
        "--page",
        nargs="?",
        const=Path(),
        default=None,
        type=Path,
        metavar="FILE",
        help="write the page anew, FOLDER/run.html, from the files in the folder. Of several runs, write their curves "
        "over each other to FILE",
    )
    add_json_argument(parser, "state, progress, numbers, latest metrics and warnings of each run")


def run_watch(args: argparse.Namespace) -> None:
    """Show runs.

    Raises:
        ValueError: for a folder that is not a run's, a damaged file, and a page of several runs without a name.
    """
    from concise_rl.train.watch.page import unique_names
    from concise_rl.train.watch.run import read_run
    from concise_rl.train.watch.terminal import as_json, screen

    names, console = unique_names(args.runs), console_for(args.json)
    if args.page is not None:
        say(console, f"The page is {_write_page(args.runs, args.page)}")
    if not args.json and not args.once and args.page is None and console.is_terminal:
        with contextlib.suppress(KeyboardInterrupt):  # how a person leaves
            _follow(args.runs, names, console)
        return
    runs, now = [read_run(folder) for folder in args.runs], time.time()
    if args.json:
        print_json([as_json(run, name, now) for run, name in zip(runs, names, strict=True)])
    elif args.page is None:
        console.print(screen(runs, names, now))


def _write_page(folders: Sequence[Path], file: Path) -> Path:
    """
    Raises:
        ValueError: where it is not clear which file to write.
    """
    from concise_rl.train.watch.page import write_overlay, write_run_page

    if len(folders) == 1:
        if file != Path():
            raise ValueError("The page of one run is run.html in its folder: give --page without a file.")
        return write_run_page(folders[0])
    if file.suffix != ".html":
        raise ValueError("A page of several runs lies in none of their folders: give --page FILE.html.")
    write_overlay(folders, file)
    return file


def _follow(folders: Sequence[Path], names: Sequence[str], console: "Console") -> None:
    """Show runs until none of them goes on."""
    from rich.live import Live

    from concise_rl.train.watch.run import GOING, read_run, status
    from concise_rl.train.watch.terminal import screen

    with Live(console=console, auto_refresh=False) as live:
        while True:
            runs, now = [read_run(folder) for folder in folders], time.time()
            live.update(screen(runs, names, now), refresh=True)
            if not any(status(run, now).word in GOING for run in runs):
                return
            time.sleep(REFRESH)
