"""The subcommand `concise-rl exits`."""

import argparse
from pathlib import Path

from concise_rl.output.lines import add_json_argument, console_for, print_json, print_next, say


def add_exits_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `concise-rl exits`."""
    parser.add_argument("folder", type=Path, metavar="DIR", help="folder that `concise-rl eval` wrote: full samples")
    parser.add_argument(
        "--policy",
        action="append",
        default=[],
        metavar="EXIT",
        help="an exit policy, as eval's --exit takes it; its dial is varied. May be given several times (default: all "
        "that can be replayed)",
    )
    parser.add_argument(
        "--label", metavar="LABEL", help="whose samples (default: the baseline; without one the first label)"
    )
    parser.add_argument(
        "--places",
        type=int,
        default=16,
        metavar="N",
        help="places of a sample, spread over those of all policies, that are answered for the oracle (%(default)s)",
    )
    parser.add_argument(
        "--engine", metavar="ENGINE", help="transformers, vllm or a server's URL (default: what drew the samples)"
    )
    parser.add_argument(
        "--from-probes", action="store_true", help="ask nothing: compute the report again from DIR/probes"
    )
    add_json_argument(parser, "what exits.json in DIR holds: every curve, the oracle and the other labels")


def run_exits(args: argparse.Namespace) -> None:
    """Ask what is missing, then write and show the report on exits.

    Raises:
        ValueError: for a folder, label or policy that cannot be used, saying what to do.
    """
    # Imported where needed: `concise-rl --help` must not wait for torch.
    from concise_rl.evaluate.exits.run import Wanted, try_exits
    from concise_rl.evaluate.exits.wording import sentences, terminal_table

    wanted = Wanted(args.folder, args.label, tuple(args.policy), args.places, args.from_probes, args.engine)
    report, console = try_exits(wanted), console_for(args.json)
    console.print(terminal_table(report))
    for line in sentences(report):
        say(console, line, wrap=True)
    say(console, f"Page: {args.folder / 'exits.html'}")
    if args.json:
        print_json(report)
    else:
        print_next(console, [(f"concise-rl exits {args.folder} --from-probes --json", "the numbers, asking nothing")])
