"""The subcommands `concise-rl import` and `concise-rl export`."""

import argparse
import shlex
import sys
from pathlib import Path

from concise_rl.evaluate.report_cli import REPORT_JSON, show_report
from concise_rl.output.lines import add_json_argument, console_for, print_next, say


def add_import_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `concise-rl import`."""
    what = parser.add_argument_group("what to import")
    what.add_argument(
        "paths", nargs="+", type=Path, metavar="FROM", help="the log of one model: files, or a folder that holds them"
    )
    what.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for samples and report")
    what.add_argument(
        "--baseline", nargs="+", type=Path, default=[], metavar="FROM", help="the log of what it is compared with"
    )
    what.add_argument(
        "--format", metavar="NAME", help="inspect, lighteval, evalscope or lm-eval (default: told from the files)"
    )
    what.add_argument("--label", metavar="NAME", help="of the model in the report (default: its name in the log)")
    what.add_argument("--overwrite", action="store_true", help="delete the samples and the report in DIR first")
    add_json_argument(parser, REPORT_JSON)
    _add_reading_arguments(parser)


def _add_reading_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare how a log is read."""
    how = parser.add_argument_group("how to read it")
    how.add_argument(
        "--tokenizer",
        metavar="MODEL",
        help="reads the token ids of a lighteval log, and counts tokens where a log has no counts: a folder, a hub id, "
        "or a model that ships (default: the log's own counts)",
    )
    how.add_argument(
        "--think-end",
        metavar="TEXT",
        help="what closes the thinking; '' for a model that does not think (default: </think>, where samples hold it)",
    )
    how.add_argument("--scorer", metavar="NAME", help="the score that says right or wrong (default: the only one)")
    how.add_argument(
        "--regrade", metavar="VERIFIER", help="grade the answers again, by math say (default: the log's own verdicts)"
    )
    how.add_argument(
        "--task",
        metavar="TASK",
        help="a data set with the right answers, for --regrade: what `concise-rl eval --task` takes (default: those in "
        "the log)",
    )
    how.add_argument(
        "--judge",
        metavar="JUDGE",
        help="who says where the thinking of a right sample first states the answer, in a log with token ids: rule, or "
        "another that `concise-rl eval` knows (default: nobody)",
    )
    how.add_argument("--samples", type=int, metavar="K", help="the first K of each problem (default: all there are)")
    how.add_argument(
        "--partial",
        action="store_true",
        help="leave out what is not complete: samples that failed, problems with fewer samples, or that one log lacks",
    )


def run_import(args: argparse.Namespace) -> None:
    """Import a log, then write and show the report.

    Raises:
        ValueError: when a log cannot be used, or the folder holds something else.
    """
    from concise_rl.evaluate.exchange.importing import ImportSpec, import_logs

    spec = ImportSpec(
        paths=tuple(args.paths),
        baseline=tuple(args.baseline),
        verifier=args.regrade,
        **{
            n: getattr(args, n)
            for n in ("format", "label", "task", "think_end", "tokenizer", "judge", "scorer", "samples", "partial")
        },
    )
    print(f"Samples and report go to {args.out}.", file=sys.stderr)
    notes = import_logs(spec, args.out, args.overwrite)
    show_report(args.out, args.json)
    for note in notes:
        say(console_for(args.json), f"Note: {note}", "yellow", wrap=True)
    again = shlex.join(["concise-rl", "report", str(args.out), "--json"])
    print_next(console_for(args.json), [(again, "the numbers for a script")])


def add_export_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `concise-rl export`."""
    parser.add_argument("folder", type=Path, metavar="DIR", help="folder that `concise-rl eval` wrote")
    parser.add_argument("--to", required=True, metavar="NAME", help="inspect or lm-eval")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR2", help="folder for the files")


def run_export(args: argparse.Namespace) -> None:
    """Export an evaluation, and say where the files are.

    Raises:
        ValueError: when samples are missing, or the format is not known.
    """
    from concise_rl.evaluate.exchange.exports import export

    for path in export(args.folder, args.to, args.out):
        say(console_for(False), str(path))
