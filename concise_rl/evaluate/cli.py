"""The subcommands `concise-rl eval` and `concise-rl report`."""

import argparse
import re
import shlex
import sys
from pathlib import Path
from typing import Any

from concise_rl.evaluate.exit_runs import check_exits, with_exits
from concise_rl.evaluate.options import (
    DEFAULT,
    TASKS,
    Group,
    add_engine_options,
    add_prompt_options,
    add_sampling_options,
    add_source_options,
    add_top_p_option,
    default_cap,
    json_options,
)
from concise_rl.evaluate.spec import (
    BASELINE,
    LABEL,
    MANIFEST,
    EvalSpec,
    Measurement,
    as_label,
    model_runs,
    read_manifest,
    whole_groups,
)
from concise_rl.labels.judges import DEFAULT_JUDGE
from concise_rl.output.lines import add_json_argument, console_for, print_json, print_next, say

CONTINUOUS_BATCH = 4096
"""Completions of a batch, where the engine refills itself."""
QUICK: dict[str, int | None] = {"problems": 192, "samples": 2}
"""What is drawn of a tiny: task unless said otherwise: its intervals are of use, and are there within a minute."""
REPORT_JSON = "what report.json in DIR holds: accuracy, tokens, savings and their intervals, by model"
_LABELLED = re.compile(rf"(?P<label>{LABEL})=(?P<model>.+)")


def add_eval_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `concise-rl eval`."""
    what = parser.add_argument_group("what to evaluate")
    what.add_argument(
        "--model",
        action="append",
        required=True,
        metavar="[LABEL=]MODEL",
        help="a folder, a hub id, or one that ships (tiny:s_grpo); may be given several times. The same label several "
        "times means several training seeds of one method, which are pooled. Without one: the last part of the name",
    )
    what.add_argument("--baseline", metavar="MODEL", help="model to compare with, on the same problems (default: none)")
    what.add_argument(
        "--task",
        required=True,
        metavar="TASK",
        help=TASKS,
    )
    what.add_argument(
        "--out", type=Path, metavar="DIR", help="folder for samples and report (default: runs/eval/MODEL-on-TASK)"
    )
    what.add_argument("--overwrite", action="store_true", help="delete the samples and the report in DIR first")
    add_json_argument(parser, REPORT_JSON)
    _add_size_arguments(parser)
    _add_engine_arguments(parser)
    _add_exit_arguments(parser)
    _add_reader_arguments(parser)
    data = parser.add_argument_group("how the problems are put")
    add_prompt_options(data)
    _add_writer_options(data)
    add_source_options(data)


def _add_writer_options(group: Group) -> None:
    """Declare what is written into prompts, and differs between problems."""
    group.add_argument(
        "--prompts",
        metavar="NAME",
        help="what writes something into each prompt, a target of tokens say: a name in reward.PROMPTS, or a class's "
        "dotted path (default: nothing)",
    )
    group.add_argument(
        "--prompts-options",
        type=json_options,
        metavar="JSON",
        help="""its options, as '{"low": 512, "high": 512}' (default: its own)""",
    )


def _add_size_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare how much is sampled, and how it is drawn and graded."""
    how = parser.add_argument_group("how to measure")
    how.add_argument(
        "--samples",
        type=int,
        metavar="K",
        help=f"samples of each problem (default: {DEFAULT['samples']}; {QUICK['samples']} of tiny:sums)",
    )
    how.add_argument(
        "--problems",
        type=int,
        metavar="N",
        help=f"number of problems (default: all there are; {QUICK['problems']} of tiny:sums)",
    )
    how.add_argument(
        "--max-tokens",
        type=int,
        metavar="T",
        help="cap on completion tokens (default: what the budgets come to; without them 512 for tiny:, else 16384)",
    )
    add_sampling_options(how)
    add_top_p_option(how)


def _add_engine_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what samples, and what it may cut short."""
    group = parser.add_argument_group("what samples, and how far")
    add_engine_options(group)
    group.add_argument(
        "--batch-size",
        type=int,
        metavar="B",
        help=f"completions drawn and written to disk together (default: 64 with transformers, else {CONTINUOUS_BATCH})",
    )
    group.add_argument(
        "--think-budget",
        type=int,
        metavar="N",
        help="tokens after which the thinking is closed by force; needs --answer-budget (default: none)",
    )
    group.add_argument(
        "--answer-budget", type=int, metavar="N", help="cap on the tokens behind the thinking (default: none)"
    )
    group.add_argument(
        "--keep-shortest",
        type=int,
        metavar="M",
        help="count questions, not samples: the first M of the K samples to end answer, by majority, and the others "
        "are given up (short-M@K; 1 is first-finish) (default: each sample counts)",
    )


def _add_exit_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what stops the thinking of a model that was not trained to stop."""
    group = parser.add_argument_group("what stops the thinking, without any training")
    group.add_argument(
        "--exit",
        action="append",
        default=[],
        metavar="[LABEL=]EXIT",
        help="measure each --model under it, as a row of its own; may be given several times. NAME, NAME:VALUE of its "
        "main option (budget:512), NAME:key=value,key=value, a dotted path, or none (see docs/exits.md). Names: "
        "no-think, budget, extend, deer, dynasor, converge, run_jump, eat, think_brake, nowait, rpdi, deepconf, lynx "
        "(default: none alone)",
    )


def _add_reader_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare who reads the thinking."""
    group = parser.add_argument_group("how overthinking is measured")
    group.add_argument(
        "--judge",
        metavar="JUDGE",
        help="who says where the thinking of a correct sample first states the answer: rule (the verifier, on what the "
        "passages state), model, oracle (sums as in tiny:sums), a class's dotted path, or none (default: rule; in a "
        "folder that holds samples, the judge of those)",
    )
    group.add_argument("--judge-options", type=json_options, metavar="JSON", help="the judge's options (default: none)")


def run_eval(args: argparse.Namespace) -> None:
    """Sample what is missing, then write and show the report.

    Raises:
        ValueError: for arguments, data or files that cannot be used, saying what to do.
    """
    # Imported where needed: `concise-rl --help` must not wait for torch.
    from concise_rl.evaluate.run import evaluate

    out, spec = folder_of(args), spec_of(args)
    print(f"Samples and report go to {out}.", file=sys.stderr)
    evaluate(spec, out, args.overwrite)
    _show(out, args.json)
    print_next(console_for(args.json), next_commands(args))


def next_commands(args: argparse.Namespace) -> list[tuple[str, str]]:
    """Return what a reader of the report may want to run, and why."""
    (_, model), *_ = split_labels(args.model)
    commands = [(["report", str(folder_of(args)), "--json"], "the numbers for a script, without sampling")]
    if args.baseline and args.baseline != model:
        commands.insert(0, (["try", model, "--against", args.baseline], "see both think"))
    elif args.think_end:
        commands.insert(0, (["probe", model, "--task", args.task], "is it worth training?"))
    return [(shlex.join(["concise-rl", *words]), why) for words, why in commands]


def folder_of(args: argparse.Namespace) -> Path:
    """Return the folder that is named; else one that the models and the task name:
    `runs/eval/tiny-s_grpo-on-tiny-sums`."""
    if args.out:
        return args.out
    models = "+".join(dict.fromkeys(label for label, _ in split_labels(args.model)))
    return Path("runs/eval") / f"{models}-on-{re.sub(r'[^A-Za-z0-9._+-]+', '-', args.task).strip('-')}"


def spec_of(args: argparse.Namespace) -> EvalSpec:
    """Return the evaluation that the arguments ask for.

    Raises:
        ValueError: when a value is out of bounds, a model is not there, or two models have one name by chance.
    """
    values = {name: getattr(args, name) for name in Measurement.model_fields}
    values["think_end"] = args.think_end or None
    values["verifier"] = args.verifier or default_verifier(args.task)
    values |= {name: number for name, number in default_size(args.task).items() if values[name] is None}
    values["max_tokens"] = args.max_tokens if args.max_tokens is not None else default_max_tokens(args)
    values["batch_size"] = (
        args.batch_size if args.batch_size is not None else default_batch_size(args, values["samples"])
    )
    values |= judge_of(args)
    baseline = model_runs([(BASELINE, args.baseline)])[0] if args.baseline else None
    models = with_exits(model_runs(split_labels(args.model)), args.exit)
    spec = EvalSpec(measurement=Measurement(**values), models=models, baseline=baseline)
    check_exits(spec)
    return spec


def default_size(task: str) -> dict[str, int | None]:
    """Return how many problems are drawn, and samples of each."""
    return QUICK if task.startswith("tiny:") else {name: DEFAULT[name] for name in QUICK}


def default_verifier(task: str) -> str:
    """Name the verifier: reasoning-gym's own scorer for its tasks, mathematics for everything else."""
    from concise_rl.data.sources import GENERATED  # which imports datasets

    return "reasoning_gym" if task.startswith(GENERATED) else "math"


def judge_of(args: argparse.Namespace) -> dict[str, Any]:
    """Return the judge that is named; else that of the samples in the folder; else the rule, if there is thinking."""
    if args.judge:
        return {"judge": None if args.judge == "none" else args.judge, "judge_options": args.judge_options}
    out = folder_of(args)
    if (out / MANIFEST).is_file() and not args.overwrite:
        found = read_manifest(out).measurement
        return {"judge": found.judge, "judge_options": args.judge_options or found.judge_options}
    return {"judge": DEFAULT_JUDGE if args.think_end else None, "judge_options": args.judge_options}


def default_max_tokens(args: argparse.Namespace) -> int:
    """Return what the budgets come to, where there are any. Otherwise: the embedded reasoner's context is short; real
    reasoners need room, or the cap is all that is measured."""
    if args.think_budget and args.answer_budget and args.think_end:
        from concise_rl.models.eos import load_tokenizer
        from concise_rl.models.resolve import resolve_model

        path = resolve_model(split_labels(args.model)[0][1])
        tokenizer, _ = load_tokenizer(path, args.revision, args.trust_remote_code)
        return args.think_budget + args.answer_budget + len(tokenizer.encode(args.think_end, add_special_tokens=False))
    return default_cap(args.task)


def default_batch_size(args: argparse.Namespace, samples: int) -> int:
    """Return the batch size: vLLM takes in new completions as others end, so that its batches can be large. Whole
    problems, where those need it."""
    size = batch_of(args.engine)
    return whole_groups(size, max(1, samples)) if args.keep_shortest else size


def batch_of(engine: str) -> int:
    """Return the completions that an engine draws together, unless told otherwise."""
    return DEFAULT["batch_size"] if engine == "transformers" else CONTINUOUS_BATCH


def split_labels(models: list[str]) -> list[tuple[str, str]]:
    """Return (label, model) of each `[LABEL=]MODEL`.

    Raises:
        ValueError: for a label that cannot be a file's name, and when two models without a label would share one: they
            would be taken for seeds of one method.
    """
    pairs, unlabelled = [], []
    for model in models:
        match = _LABELLED.fullmatch(model)
        if not match:
            _refuse_bad_label(model)
            unlabelled.append(as_label(Path(model).name))
        pairs.append((match["label"], match["model"]) if match else (unlabelled[-1], model))
    labels = [label for label, _ in pairs]
    for label in unlabelled:
        if labels.count(label) > 1:
            raise ValueError(
                f"Several models would be called {label!r}. Give them labels (--model NAME=MODEL); the same label for "
                "several training seeds of one method."
            )
    return pairs


def _refuse_bad_label(model: str) -> None:
    label, equals, _ = model.partition("=")
    if equals and not Path(model).exists() and not label.startswith((".", "/", "~")):
        raise ValueError(
            f"--model {model}: a label has letters, digits and . _ + - alone, as in --model my-run=runs/x."
        )


def add_report_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `concise-rl report`."""
    parser.add_argument("folder", type=Path, metavar="DIR", help="folder that `concise-rl eval` wrote")
    add_json_argument(parser, REPORT_JSON)


def run_report(args: argparse.Namespace) -> None:
    """Compute the report again from the samples on disk, and show it. No model is loaded.

    Raises:
        ValueError: when samples are missing or corrupt.
    """
    _show(args.folder, args.json)


def _show(folder: Path, as_json: bool) -> None:
    from concise_rl.evaluate.report import write_report
    from concise_rl.evaluate.text import headline, terminal_table

    report = write_report(folder)
    console = console_for(as_json)
    console.print(terminal_table(report))
    for warning in report["warnings"]:
        say(console, f"Warning: {warning}", "yellow", wrap=True)
    say(console, headline(report), "bold", wrap=True)
    say(console, f"Page: {folder / 'report.html'}")
    if as_json:
        print_json(report)
