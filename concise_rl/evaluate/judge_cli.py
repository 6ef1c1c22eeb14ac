"""The subcommand `concise-rl judge`."""

import argparse
import json
from pathlib import Path
from typing import Any

from concise_rl.evaluate.options import json_options
from concise_rl.labels.judges import DEFAULT_JUDGE


def add_judge_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `concise-rl judge`."""
    parser.add_argument(
        "samples",
        nargs="+",
        type=Path,
        metavar="WHAT",
        help="DIR/samples/*.jsonl, where DIR is a folder that `concise-rl eval` wrote; or, where the truth is known: "
        "prose (generated traces in plain English), or a .jsonl file with problem, answer, and either necessary and "
        "redundant (the two parts of the thinking) or lines (of which the last is the first to state the answer)",
    )
    parser.add_argument(
        "--judge",
        default=DEFAULT_JUDGE,
        help="the judge in question: rule, model, oracle or a class's dotted path (%(default)s)",
    )
    parser.add_argument("--judge-options", type=json_options, metavar="JSON", help="its options (default: none)")
    parser.add_argument(
        "--against",
        metavar="JUDGE",
        help="the judge taken for the truth; oracle knows sums as in tiny:sums (default: oracle). Where the truth is "
        "known: another judge to show beside (default: none)",
    )
    parser.add_argument("--against-options", type=json_options, metavar="JSON", help="its options (default: none)")
    parser.add_argument(
        "--passage",
        action="append",
        choices=("chunk", "sentence", "line"),
        help="what the thinking is cut into; may be given several times (default: chunk)",
    )
    parser.add_argument("--verifier", help="for the judges (default: the one that judged the samples, else math)")
    parser.add_argument(
        "--model",
        metavar="MODEL",
        help="whose tokenizer wrote the samples (default: the evaluation's own model; known traces are cut into words)",
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the numbers there too, as JSON")


def run_judge(args: argparse.Namespace) -> None:
    """Label samples with two judges, or known traces with one or two, and show how well the labels agree.

    Raises:
        ValueError: for samples, judges or options that cannot be used.
        EngineError: when the engine behind a judge fails.
    """
    from rich.console import Console

    from concise_rl.evaluate.agreement import JudgeSpec, agreement_table, compare_judges
    from concise_rl.evaluate.known import is_known, known_table
    from concise_rl.files import write_atomically

    passages: Any = list(dict.fromkeys(args.passage or ["chunk"]))  # argparse has checked them
    known = [is_known(path) for path in args.samples]
    if any(known) and not all(known):
        raise ValueError("Some of these are known traces and some are samples: give one kind at a time.")
    judge, against = (
        JudgeSpec(args.judge, args.judge_options),
        JudgeSpec(args.against or "oracle", args.against_options),
    )
    if all(known):
        results: Any = _known(args, [judge, against] if args.against else [judge], passages)
        table = known_table(results)
    else:
        results = compare_judges(args.samples, judge, against, passages, args.verifier, args.model)
        table = agreement_table(results)
    Console().print(table)
    if args.out:
        write_atomically(args.out, json.dumps([result.to_json() for result in results], indent=2) + "\n")


def _known(args: argparse.Namespace, judges: list[Any], passages: list[Any]) -> list[Any]:
    from concise_rl.evaluate.known import compare_known, load_known

    traces = [trace for path in args.samples for trace in load_known(path)]
    verifier = args.verifier or "math"
    return [
        result
        for judge in judges
        for result in compare_known(traces, judge.name, judge.options, passages, verifier, args.model)
    ]
