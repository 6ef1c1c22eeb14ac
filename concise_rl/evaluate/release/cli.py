"""The subcommand `concise-rl release`."""

import argparse
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from concise_rl.output.lines import add_json_argument, console_for, print_json, print_next, say

if TYPE_CHECKING:  # help must not wait for torch
    from concise_rl.evaluate.release.wanted import Wanted


def add_release_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `concise-rl release`."""
    parser.add_argument(
        "run",
        type=Path,
        metavar="RUN",
        help="folder of a finished training, its output_dir; or one of its checkpoints; or, with --recipe, a model",
    )
    parser.add_argument(
        "--report",
        type=Path,
        action="append",
        default=[],
        metavar="DIR",
        help="folder of an evaluation of this model, whose numbers the page shows; may be given several times "
        "(default: none, and the page says so)",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write, which others can load")
    parser.add_argument(
        "--name", metavar="REPO", help="what its page calls it (default: that of --push, else the folder's name)"
    )
    parser.add_argument("--overwrite", action="store_true", help="delete DIR first")
    _add_content_arguments(parser.add_argument_group("what is released"))
    hub = parser.add_argument_group("the hub")
    hub.add_argument("--push", metavar="REPO", help="send it to ORG/NAME, the samples to ORG/NAME-samples")
    hub.add_argument("--private", action="store_true", help="make the repositories private (default: public)")
    add_json_argument(parser, "the folder, what was compared, and the URLs")


def _add_content_arguments(what: argparse._ArgumentGroup) -> None:
    what.add_argument(
        "--adapter", action="store_true", help="LoRA adapters alone (default: merged into their base, a whole model)"
    )
    what.add_argument(
        "--dtype",
        choices=("bfloat16", "float16"),
        help="with --adapter: round them, to half the size (default: as they were trained)",
    )
    what.add_argument(
        "--recipe", type=Path, metavar="FILE", help="what made the model in RUN, where it has left no run's folder"
    )
    what.add_argument("--about", metavar="TEXT", default="", help="what the model is: the first lines of its page")
    what.add_argument(
        "--base-model", metavar="REPO", help="hub id of what was trained (default: the recipe's, where it is one)"
    )
    what.add_argument(
        "--licence",
        "--license",
        dest="licence",
        metavar="ID",
        help="identifier on the hub, as apache-2.0 (default: the base model's, where its card can be read)",
    )
    what.add_argument(
        "--samples",
        action="store_true",
        help="also write the samples of the first report as a data set, to DIR-samples (default: no)",
    )
    what.add_argument(
        "--no-check",
        dest="check",
        action="store_false",
        help="do not load what was written afresh, and compare what it says with the run's model (default: compare)",
    )


def run_release(args: argparse.Namespace) -> None:
    """Write the folder unless it is there, and send it where it should go.

    Raises:
        ValueError: for a run, a report or options that cannot be used, saying what to do.
        EngineError: when the hub fails.
    """
    from concise_rl.evaluate.release.beside import SUMS, check_sums
    from concise_rl.evaluate.release.push import check_name
    from concise_rl.evaluate.release.run import release

    console = console_for(args.json)
    if args.push:
        check_name(args.push)
    if args.overwrite and args.out.is_dir():
        _delete(args.out)
    found: dict[str, Any] = {"folder": str(args.out), "urls": []}
    if args.push and (args.out / SUMS).is_file():
        check_sums(args.out, args.push)
        say(console, f"{args.out} is there already, and unchanged: it is sent as it is.")
    else:
        proof = release(args.run, args.out, _wanted(args))
        equal = ", ".join(f"{count} of {proof.asked} with {name}" for name, count in proof.equal.items())
        checked = f"Greedy completions equal to the run's, loaded afresh: {equal}." if equal else "It was not checked."
        say(console, f"{args.out} is written. {checked}")
        found |= {"compared": proof.asked, **{f"equal_{name}": count for name, count in proof.equal.items()}}
    if args.push:
        found["urls"] = _push(args)
        say(console, "\n".join(found["urls"]))
    elif not args.name or "/" in args.name:
        print_next(
            console, [(f"concise-rl release {args.run} --out {args.out} --push {args.name or 'ORG/NAME'}", "send it")]
        )
    if args.json:
        print_json(found)


def _wanted(args: argparse.Namespace) -> "Wanted":
    from concise_rl.evaluate.release.wanted import Wanted

    return Wanted(
        reports=args.report,
        name=args.name or args.push or args.out.name,
        recipe=args.recipe,
        about=args.about,
        adapter_alone=args.adapter,
        dtype=args.dtype,
        base_model=args.base_model,
        licence=args.licence,
        samples=args.samples,
        check=args.check,
    )


def _delete(out: Path) -> None:
    """Delete a release; nothing else.

    Raises:
        ValueError: for a folder that is none.
    """
    from concise_rl.evaluate.release.beside import SUMS
    from concise_rl.evaluate.release.run import samples_folder

    if any(out.iterdir()) and not (out / SUMS).is_file():
        raise ValueError(f"{out} is no release (there is no {SUMS} in it), so it is not deleted: give another --out.")
    shutil.rmtree(out)
    shutil.rmtree(samples_folder(out), ignore_errors=True)


def _push(args: argparse.Namespace) -> list[str]:
    from concise_rl.evaluate.release.push import push
    from concise_rl.evaluate.release.run import samples_folder

    urls = [push(args.out, args.push, private=args.private)]
    if samples_folder(args.out).is_dir():
        urls.append(push(samples_folder(args.out), f"{args.push}-samples", private=args.private, kind="dataset"))
    return urls
