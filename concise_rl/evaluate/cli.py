"""The subcommands `concise-rl eval` and `concise-rl report`."""

import argparse
import re
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from concise_rl.evaluate.defaults import (
    CONTINUOUS_BATCH,
    QUICK,
    TINY_CAP,
    default_batch_size,
    said_by_benchmark,
    settle,
)
from concise_rl.evaluate.exit_runs import check_exits, with_exits
from concise_rl.evaluate.options import (
    BENCHMARKS,
    DEFAULT,
    TASKS,
    Group,
    add_engine_options,
    add_prompt_options,
    add_sampling_options,
    add_source_options,
    add_truncation_options,
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
)
from concise_rl.evaluate.suite.folder import is_suite
from concise_rl.evaluate.suite.tasks import SUITE, SUITES, NamedTask, expand, folder_name
from concise_rl.labels.judges import DEFAULT_JUDGE
from concise_rl.output.lines import add_json_argument, console_for, print_json, print_next, say

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
        action="append",
        required=True,
        metavar="TASK",
        help=f"{TASKS}. May be given several times, and suite:NAME is several ({', '.join(SUITES)}): a folder for each "
        "task, and one table over all",
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
        help=f"samples of each problem (default: {BENCHMARKS}{DEFAULT['samples']}; {QUICK['samples']} of tiny:sums)",
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
        help=f"cap on completion tokens (default: what the budgets come to; without them {BENCHMARKS}{TINY_CAP} for "
        f"tiny:, {DEFAULT['max_tokens']} for others)",
    )
    add_sampling_options(how)
    add_truncation_options(how)


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

    out, tasks = folder_of(args), expand(args.task)
    for line in filter(None, (said_by_benchmark(one.task, {**one.settings, **told_in(args)}) for one in tasks)):
        print(line, file=sys.stderr)
    print(f"Samples and report go to {out}.", file=sys.stderr)
    if is_many(args):
        from concise_rl.evaluate.suite.run import evaluate_suite

        evaluate_suite(specs_of(args), out, args.overwrite)
    else:
        evaluate(spec_of(args), out, args.overwrite)
    _show(out, args.json)
    print_next(console_for(args.json), next_commands(args))


def is_many(args: argparse.Namespace) -> bool:
    """Say whether the folder is one of several tasks, or becomes one."""
    return len(args.task) > 1 or args.task[0].startswith(SUITE) or is_suite(folder_of(args))


def next_commands(args: argparse.Namespace) -> list[tuple[str, str]]:
    """Return what a reader of the report may want to run, and why."""
    (_, model), *_ = split_labels(args.model)
    commands = [(["report", str(folder_of(args)), "--json"], "the numbers for a script, without sampling")]
    if args.baseline:
        commands.insert(0, (["try", model, "--against", args.baseline], "see both think"))
    elif args.think_end and not is_many(args):
        commands.insert(0, (["probe", model, "--task", args.task[0]], "is it worth training?"))
    return [(shlex.join(["concise-rl", *words]), why) for words, why in commands]


def folder_of(args: argparse.Namespace) -> Path:
    """Return the folder that is named; else one that the models and the task name:
    `runs/eval/tiny-s_grpo-on-tiny-sums`."""
    if args.out:
        return args.out
    models = "+".join(dict.fromkeys(label for label, _ in split_labels(args.model)))
    return Path("runs/eval") / f"{models}-on-{'+'.join(map(folder_name, args.task))}"


def specs_of(args: argparse.Namespace) -> dict[str, EvalSpec]:
    """Return what the arguments ask for of each task, by the name of its folder.

    Raises:
        ValueError: see `spec_of`; and for an unknown suite, or two tasks that would share a folder.
    """
    runs, out = runs_of(args), folder_of(args)
    return {
        one.name: EvalSpec(measurement=measurement_of(args, one, out / one.name), **runs) for one in expand(args.task)
    }


def spec_of(args: argparse.Namespace, general: Mapping[str, Any] | None = None) -> EvalSpec:
    """Return the evaluation of one task that the arguments ask for.

    Args:
        args: of the command.
        general: see `settle`.

    Raises:
        ValueError: when a value is out of bounds, a model is not there, or two models have one name by chance.
    """
    [task] = args.task
    measurement = measurement_of(args, NamedTask(folder_name(task), task), folder_of(args), general)
    spec = EvalSpec(measurement=measurement, **runs_of(args))
    check_exits(spec)
    return spec


def runs_of(args: argparse.Namespace) -> dict[str, Any]:
    """Return the models, and what they are compared with."""
    baseline = model_runs([(BASELINE, args.baseline)])[0] if args.baseline else None
    models = with_exits(model_runs(split_labels(args.model)), args.exit)
    return {"models": models, "baseline": baseline}


def measurement_of(
    args: argparse.Namespace, task: NamedTask, folder: Path, general: Mapping[str, Any] | None = None
) -> Measurement:
    """Return how a task is measured.

    Args:
        args: of the command.
        task: whose problems are drawn.
        folder: of its samples, whose judge goes on.
        general: see `settle`.
    """
    values = settle(task.task, {**task.settings, **told_in(args)}, general)
    values["think_end"] = args.think_end or None
    if args.batch_size is None:
        values["batch_size"] = default_batch_size(args.engine, values["samples"], args.keep_shortest)
    return Measurement(**values | judge_of(args, folder))


def told_in(args: argparse.Namespace) -> dict[str, Any]:
    """Return what the arguments say of a measurement, but for its task."""
    given = {name: getattr(args, name, None) for name in Measurement.model_fields if name != "task"}
    given |= {"max_tokens": cap_of_budgets(args) if args.max_tokens is None else args.max_tokens}
    return {name: value for name, value in given.items() if value is not None}


def judge_of(args: argparse.Namespace, out: Path) -> dict[str, Any]:
    """Return the judge that is named; else that of the samples in `out`; else the rule, if there is thinking."""
    if args.judge:
        return {"judge": None if args.judge == "none" else args.judge, "judge_options": args.judge_options}
    if (out / MANIFEST).is_file() and not args.overwrite:
        found = read_manifest(out).measurement
        return {"judge": found.judge, "judge_options": args.judge_options or found.judge_options}
    return {"judge": DEFAULT_JUDGE if args.think_end else None, "judge_options": args.judge_options}


def cap_of_budgets(args: argparse.Namespace) -> int | None:
    """Return the cap that the budgets come to; None where there are none."""
    if not (args.think_budget and args.answer_budget and args.think_end):
        return None
    from concise_rl.models.eos import load_tokenizer
    from concise_rl.models.resolve import resolve_model

    path = resolve_model(split_labels(args.model)[0][1])
    tokenizer, _ = load_tokenizer(path, args.revision, args.trust_remote_code)
    return args.think_budget + args.answer_budget + len(tokenizer.encode(args.think_end, add_special_tokens=False))


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
    if is_suite(folder):
        from concise_rl.evaluate.suite.report import write_suite_report as write_report
        from concise_rl.evaluate.suite.text import headline, terminal_table
    else:
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
