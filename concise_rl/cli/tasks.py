"""`concise-rl tasks`."""

import argparse
from collections.abc import Mapping
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from concise_rl.errors import unknown
from concise_rl.output.lines import add_json_argument, console_for, print_json, say
from concise_rl.tasks.benchmarks import BENCHMARKS, Benchmark

HINTS = """Measure on one: concise-rl eval --model MODEL --task NAME, or NAME=FILE for a local copy of its data
Its own settings give way to what you say: --samples, --temperature, --max-tokens, --prompt-template and so on"""


def add_tasks_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `concise-rl tasks`."""
    parser.add_argument("name", nargs="?", metavar="NAME", help="show this benchmark alone")
    add_json_argument(parser, "of each benchmark its source, revision, settings, licence and note")


def run_tasks(args: argparse.Namespace) -> None:
    """Print the table of benchmarks, or one of them.

    Raises:
        ValueError: for an unknown name, naming the nearest.
    """
    if args.name and args.name not in BENCHMARKS:
        raise unknown("benchmark", args.name, BENCHMARKS)
    chosen = {args.name: BENCHMARKS[args.name]} if args.name else BENCHMARKS
    if args.json:
        print_json([described(name, benchmark) for name, benchmark in chosen.items()])
        return
    console = console_for(args.json)
    console.print(_table(chosen))
    say(console, HINTS, wrap=True)


def described(name: str, benchmark: Benchmark) -> dict[str, Any]:
    """Describe a benchmark as JSON can hold it."""
    facts = ("source", "revision", "split", "rows", "verifier", "samples", "temperature", "top_p", "max_tokens")
    texts = ("prompt_template", "licence", "note")
    return {"name": name, **{fact: getattr(benchmark, fact) for fact in (*facts, *texts)}}


def origin(benchmark: Benchmark) -> str:
    """Name a benchmark's source, with the first characters of its pinned commit."""
    if benchmark.revision:
        return f"{benchmark.source}@{benchmark.revision[:8]}"
    made = ":" in benchmark.source and "/" not in benchmark.source
    return benchmark.source if made else f"{benchmark.source}, not pinned"


def sampling(benchmark: Benchmark) -> str:
    """Say how its completions are drawn."""
    drawn = f"temperature {benchmark.temperature:g}, top_p {benchmark.top_p:g}, {benchmark.max_tokens:,} tokens"
    return f"{benchmark.samples} at {drawn}"


def _table(benchmarks: Mapping[str, Benchmark]) -> Table:
    """All of them, some lines each. Nothing is cut, however narrow the terminal."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("name", overflow="fold")
    table.add_column("problems", justify="right")
    table.add_column("source, verifier, samples, licence", overflow="fold", ratio=1)
    for name, one in benchmarks.items():
        lines = [
            f"{origin(one)}, split {one.split}",
            f"verifier {one.verifier}; {sampling(one)}",
            f"licence: {one.licence}",
            one.note,
        ]
        table.add_row(Text(name, "bold"), f"{one.rows:,}", Text("\n".join(lines)))
    return table
