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
        help="an exit policy, as eval's --exit takes it; its dial is varied. May be given several times; all: each "
        "that can be replayed and needs no file (default: all)",
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
    _add_training_arguments(parser)
    add_json_argument(parser, "what exits.json in DIR holds: every curve, the oracle and the other labels")


def _add_training_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare how the probe of the policy `lynx` is trained."""
    group = parser.add_argument_group("training the probe of lynx")
    group.add_argument(
        "--train-lynx",
        type=Path,
        metavar="FILE",
        help="train on the samples in DIR instead, best of a train split, and write FILE for --exit lynx:probe=FILE",
    )
    group.add_argument(
        "--cue",
        action="append",
        metavar="WORD",
        help="a word of doubt that is one token, at which the probe reads; may be given several times (default: hmm, "
        "wait and alternatively)",
    )


def run_exits(args: argparse.Namespace) -> None:
    """Ask what is missing, then write and show the report on exits.

    Raises:
        ValueError: for a folder, label or policy that cannot be used, saying what to do.
    """
    if args.train_lynx:
        _train(args)
        return
    if args.cue:
        raise ValueError("--cue says where the probe of --train-lynx reads: give both, or neither.")
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


def _train(args: argparse.Namespace) -> None:
    """Train the probe of lynx, and show what it promises and keeps.

    Raises:
        ValueError: for samples that cannot be used, or options that a training does not have.
    """
    from concise_rl.evaluate.exits.training import train_lynx
    from concise_rl.evaluate.exits.wording import training_sentence, training_table
    from concise_rl.rollout.exits.lynx import CUES

    if args.policy or args.from_probes:
        raise ValueError("--train-lynx trains, and tries no policy: leave --policy and --from-probes out.")
    trained = train_lynx(args.folder, args.train_lynx, args.label, tuple(args.cue or CUES), args.engine)
    console = console_for(args.json)
    console.print(training_table(trained))
    say(console, training_sentence(trained), wrap=True)
    say(console, f"Probe: {trained.path}")
    if args.json:
        print_json(trained.to_json())
    else:
        print_next(console, [(f"concise-rl exits DIR --policy lynx:probe={trained.path}", "try it on other samples")])
