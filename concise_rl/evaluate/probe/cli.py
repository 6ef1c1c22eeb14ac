"""The subcommand `concise-rl probe`."""

import argparse
import re
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from concise_rl.evaluate.cli import spec_of
from concise_rl.evaluate.defaults import TINY_CAP
from concise_rl.evaluate.options import (
    DEFAULT,
    TASKS,
    add_engine_options,
    add_prompt_options,
    add_sampling_options,
    add_source_options,
    json_options,
)
from concise_rl.evaluate.spec import MANIFEST, EvalSpec, read_manifest
from concise_rl.output.lines import add_json_argument, console_for, print_json, print_next, say

if TYPE_CHECKING:
    from rich.console import Console

    from concise_rl.evaluate.probe.page import Recipe
    from concise_rl.evaluate.probe.probe import Probe

PROBLEMS, SAMPLES = 32, 16
"""As many samples of a problem as the larger of two usual groups has: how these would fall is then known exactly."""
FEWEST_PROBLEMS = 10
SPLIT = "train"
"""What a model would be trained on, unless a benchmark has no such part."""
NOT_PROBED = {
    **dict.fromkeys(("baseline", "think_budget", "answer_budget", "keep_shortest", "prompts", "prompts_options")),
    "top_p": 1.0,
    "top_k": 0,
    "exit": (),
}
"""What an evaluation can do and a probe does not: rollouts of a training are sampled as the model is."""


def add_probe_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `concise-rl probe`."""
    what = parser.add_argument_group("what to probe")
    parser.add_argument("model", metavar="MODEL", help="a folder, a hub id, or one that ships (tiny:base)")
    what.add_argument(
        "--task",
        required=True,
        metavar="TASK",
        help=f"problems with answers, which it would be trained on: {TASKS}",
    )
    add_source_options(what, split=SPLIT)
    what.add_argument("--problems", type=int, default=PROBLEMS, metavar="N", help="number of problems (%(default)s)")
    what.add_argument("--samples", type=int, default=SAMPLES, metavar="K", help="samples of each (%(default)s)")
    what.add_argument(
        "--out", type=Path, metavar="DIR", help="folder for samples and pages (default: runs/probe/MODEL-TASK)"
    )

    recipe = parser.add_argument_group("the recipe that follows")
    recipe.add_argument("--recipe", type=Path, metavar="FILE", help="write it there (default: none is written)")
    recipe.add_argument(
        "--method", metavar="METHOD", help="of the recipe, see `concise-rl methods` (default: the first that fits)"
    )
    recipe.add_argument(
        "--gpus", metavar="NxGB", help="for such GPUs, e.g. 8x80 (default: 8x80; a CPU for a model as small as tiny:)"
    )
    recipe.add_argument(
        "--overwrite",
        action="store_true",
        help="replace FILE, and the samples in DIR where they are of another model or measurement",
    )
    _add_measurement(parser)
    add_json_argument(parser, "what probe.json holds")
    parser.set_defaults(**NOT_PROBED)


def _add_measurement(parser: argparse.ArgumentParser) -> None:
    """Declare how rollouts are sampled, put and graded."""
    how = parser.add_argument_group("how to sample")
    how.add_argument(
        "--max-tokens",
        type=int,
        metavar="T",
        help=f"cap on completion tokens (default: {TINY_CAP} for tiny:, else {DEFAULT['max_tokens']})",
    )
    add_sampling_options(how, temperature=DEFAULT["temperature"])
    how.add_argument("--judge", metavar="JUDGE", help="who says where the answer is first stated (default: rule)")
    how.add_argument("--judge-options", type=json_options, metavar="JSON", help="the judge's options (default: none)")
    add_engine_options(how)
    how.add_argument("--batch-size", type=int, metavar="B", help="completions drawn together (default: 64, or 4096)")
    add_prompt_options(how)


def run_probe(args: argparse.Namespace) -> None:
    """Sample what is missing, say what it means, and write the page and the recipe.

    Raises:
        ValueError: for arguments, data or files that cannot be used, saying what to do.
    """
    check_arguments(args)
    # Imported where needed: `concise-rl --help` must not wait for torch.
    from concise_rl.evaluate.probe.probe import read_probe
    from concise_rl.evaluate.probe.text import print_probe
    from concise_rl.evaluate.report import write_report
    from concise_rl.evaluate.run import evaluate

    out = args.out or Path("runs/probe") / slug(f"{args.model}-{args.task}")
    spec = spec_of(
        argparse.Namespace(**{**vars(args), "model": [args.model], "task": [args.task], "out": out}), {"split": SPLIT}
    )
    evaluate(spec, out, args.overwrite and not _is_there(out, spec))
    write_report(out)
    probe, console = read_probe(out, spec.models[0]), console_for(args.json)
    print_probe(probe, console)
    content = _write(out, probe, None)
    recipe = _write_recipe(args, probe, console) if args.recipe else None
    if recipe:
        content = _write(out, probe, recipe)
    say(console, f"Page: {out / 'probe.html'}")
    if recipe:
        print_next(console, [(recipe.train, "train by it")])
    elif probe.advice.verdict == "train":
        again = shlex.join(["concise-rl", *sys.argv[1:], "--recipe", "mine.yaml"])
        print_next(console, [(again, "write a recipe from these samples")])
    if args.json:
        print_json(content)


def _write(out: Path, probe: "Probe", recipe: "Recipe | None") -> dict[str, Any]:
    """Write `probe.json` and the page.

    Returns:
        What the former holds.
    """
    from concise_rl.evaluate.probe.page import write_probe_page
    from concise_rl.evaluate.probe.probe import as_text, to_json
    from concise_rl.files import write_atomically

    content = to_json(probe, recipe.path if recipe else None)
    write_atomically(out / "probe.json", as_text(content))
    write_probe_page(out / "probe.html", probe, recipe)
    return content


def check_arguments(args: argparse.Namespace) -> None:
    """Refuse what would be found out only after the sampling.

    Raises:
        ValueError: saying what to give.
    """
    if not args.think_end:
        raise ValueError("A probe reads the thinking: give --think-end, the text that closes it. Others need no probe.")
    if args.problems < FEWEST_PROBLEMS:
        raise ValueError(f"--problems {args.problems} are too few to say anything: give {FEWEST_PROBLEMS} or more.")
    for option in ("method", "gpus"):
        if getattr(args, option) and not args.recipe:
            raise ValueError(f"--{option} is for the recipe: give --recipe FILE, where it is to be written.")
    if args.recipe and args.recipe.exists() and not args.overwrite:
        raise ValueError(f"{args.recipe} is there already: give --recipe another name, or --overwrite it.")
    if args.method:
        from concise_rl.evaluate.probe.recipe import check_method

        check_method(args.method)
    if args.gpus:
        from concise_rl.recipe.fit.hardware import Gpus

        Gpus.parse(args.gpus)


def slug(text: str) -> str:
    """Write a name as part of a path: `tiny:base-tiny:sums` as tiny-base-tiny-sums."""
    return re.sub(r"[^A-Za-z0-9.]+", "-", text).strip("-.")


def _is_there(out: Path, spec: EvalSpec) -> bool:
    """Say whether a folder holds samples of this very model by this very measurement, all or some of them."""
    if not (out / MANIFEST).is_file():
        return False
    there = read_manifest(out)
    return spec.models[0] in there.runs and not there.measurement.differing_fields(spec.measurement)


def _write_recipe(args: argparse.Namespace, probe: "Probe", console: "Console") -> "Recipe":
    """Write the recipe and say so.

    Raises:
        ValueError: when no method fits and none is named, and as `outline_recipe` and `write_recipe` do.
    """
    from concise_rl.evaluate.probe.page import Recipe
    from concise_rl.evaluate.probe.recipe import outline_recipe, write_recipe
    from concise_rl.evaluate.probe.render import train_command

    method = args.method or probe.advice.best
    if method is None:
        raise ValueError(
            "No method fits what was measured: see above why, and name one (--method) for a recipe all the same."
        )
    outline = outline_recipe(probe.measured, probe.advice, method, args.recipe, args.gpus)
    recipe = Recipe(
        args.recipe, check=write_recipe(outline), train=train_command(outline), text=args.recipe.read_text()
    )
    say(console, f"Recipe: {recipe.path}, which passes: {recipe.check}")
    return recipe
