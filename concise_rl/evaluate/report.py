"""The report: JSON, HTML and PNG, all functions of the files in an evaluation's folder alone.

Nothing in them depends on when or where they are written: the same samples give the same bytes.
"""

import json
import statistics as stdlib_statistics
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from concise_rl.evaluate.cost import describe_cost
from concise_rl.evaluate.difficulty import by_difficulty
from concise_rl.evaluate.evaluation import Evaluation, Label, read_evaluation
from concise_rl.evaluate.figures import cap_of, describe_figures
from concise_rl.evaluate.frontier import stored_frontier
from concise_rl.evaluate.intervals import DESCRIPTION
from concise_rl.evaluate.overthinking import describe_thinking
from concise_rl.evaluate.page import render_page
from concise_rl.evaluate.plots import draw_figures, png
from concise_rl.evaluate.reproduce import hash_problems
from concise_rl.evaluate.samples import read_samples
from concise_rl.evaluate.statistics import (
    MOSTLY_TRUNCATED,
    OFTEN_UNCLOSED,
    Table,
    compare,
    describe,
    oracle_tokens,
    pool,
)
from concise_rl.evaluate.target import describe_target
from concise_rl.evaluate.underthinking import describe_underthinking
from concise_rl.files import write_atomically
from concise_rl.reading.trace import StopReason
from concise_rl.rollout.exits import EXITS, ExitPolicy

FEW_PROBLEMS = 30


def write_report(folder: Path) -> dict[str, Any]:
    """Compute the report of an evaluation from its files, and write `report.json`, `report.html` and `plots/*.png`.

    Returns:
        What `report.json` holds.

    Raises:
        ValueError: when samples are missing or corrupt, or models cannot be compared.
    """
    evaluation = read_evaluation(folder)
    report = build_report(evaluation)
    figures = draw_figures(report, evaluation)
    for name, figure in figures.items():
        write_atomically(folder / "plots" / f"{name}.png", png(figure))
    write_atomically(folder / "report.html", render_page(report, evaluation, figures))
    write_atomically(folder / "report.json", json.dumps(report, indent=2, allow_nan=False) + "\n")
    return report


def build_report(evaluation: Evaluation) -> dict[str, Any]:
    """Return the content of `report.json`. `model`, `token_savings` and the like are those of the first label."""
    manifest, baseline = evaluation.manifest, evaluation.baseline
    frontier, cap = stored_frontier(evaluation.folder), cap_of(evaluation)

    def entry_of(label: Label, against: Label | None) -> dict[str, Any]:
        return {**_entry(label, against), "figures": describe_figures(label, baseline, cap, frontier)}

    methods = [entry_of(label, baseline) for label in evaluation.labels]
    first = methods[0]
    entry = entry_of(baseline, None) if baseline else None
    return {
        "baseline": entry,
        "model": first,
        "token_savings": first["token_savings"],
        "accuracy_change": first["accuracy_change"],
        "aes": first["aes"],
        "samples": first["samples"],
        "problems": manifest.num_problems,
        "unit": manifest.measurement.unit,
        "oracle_tokens": oracle_tokens(evaluation.labels[0].table),
        "methods": methods,
        "warnings": _warnings([entry, *methods] if entry else methods, evaluation),
        "measurement": manifest.measurement.model_dump(),
        "dropped": manifest.num_dropped,
        "versions": manifest.versions,
        "problems_hash": hash_problems(read_samples(evaluation.paths[evaluation.labels[0].runs[0]])),
        "interval": DESCRIPTION,
    }


def _entry(label: Label, baseline: Label | None) -> dict[str, Any]:
    """Return all that is said about one label."""
    seeds = [_seed(label, i, baseline) for i in range(len(label.runs))]
    drawn = pool(label.drawn)
    target, spent, missing = describe_target(drawn), describe_cost(drawn), describe_underthinking(drawn)
    return {
        "label": label.name,
        "exit": label.runs[0].exit,
        **asdict(describe(label.table, drawn)),
        **_compared(label.tables, baseline),
        "by_difficulty": [asdict(one) for one in by_difficulty(label.tables, label.drawn)],
        "overthinking": asdict(describe_thinking(drawn)),
        "underthinking": asdict(missing) if missing else None,
        "target": asdict(target) if target else None,
        "cost": asdict(spent) if spent else None,
        "seeds": seeds,
        "spread": _spread(seeds),
    }


def _seed(label: Label, index: int, baseline: Label | None) -> dict[str, Any]:
    """Describe one training seed by itself."""
    run, table = label.runs[index], label.tables[index]
    alone = asdict(describe(table))
    kept = (
        *("accuracy", "accuracy_ci95", "tokens", "tokens_ci95"),
        *("truncated", "ended_thinking", "unjudged", "oracle_ratio"),
    )
    return {
        "model": run.model,
        "fingerprint": run.fingerprint,
        **{name: alone[name] for name in kept},
        **_compared([table], baseline),
    }


def _compared(runs: Sequence[Table], baseline: Label | None) -> dict[str, Any]:
    if baseline is None:
        return {"token_savings": None, "accuracy_change": None, "aes": None}
    return asdict(compare(runs, baseline.tables))


def _spread(seeds: Sequence[dict[str, Any]]) -> dict[str, float] | None:
    """Return the sample standard deviation between training seeds; None with a single one."""
    values = {name: [s[name] for s in seeds if s[name] is not None] for name in ("accuracy", "tokens")}
    return {n: stdlib_statistics.stdev(v) for n, v in values.items() if len(v) > 1} if len(seeds) > 1 else None


def _never_stopped(entry: dict[str, Any]) -> bool:
    """Say whether a known policy did nothing at all to the samples of a label."""
    name = (entry["exit"] or "").partition(":")[0]
    does_nothing = entry["cost"] is None and StopReason.FORCED_EXIT.label not in entry["stop_reasons"]
    return name in EXITS and issubclass(EXITS[name], ExitPolicy) and does_nothing


def _warnings(entries: Sequence[dict[str, Any]], evaluation: Evaluation) -> list[str]:
    """Return what a reader must know before believing the numbers."""
    measurement, found = evaluation.manifest.measurement, []
    cap, units = measurement.max_tokens, "questions" if measurement.keep_shortest else "samples"
    for entry in entries:
        if entry["truncated"] > MOSTLY_TRUNCATED:
            share = f"{entry['truncated']:.0%} of the {units} of {entry['label']}"
            where = f"the cap of {cap} tokens" if cap else "a cap"
            found.append(f"{share} hit {where}: raise --max-tokens for numbers that mean something.")
        if entry["ended_thinking"] > OFTEN_UNCLOSED:
            share = f"{entry['ended_thinking']:.0%} of the samples of {entry['label']}"
            found.append(
                f"{share} ended inside the thinking, without {measurement.think_end!r}, and count as wrong: is that "
                "what closes this model's thinking (--think-end), and does its chat template let it think?"
            )
        if _never_stopped(entry):
            found.append(
                f"The exit of {entry['label']} looked at no sample and stopped none: does its place ever come?"
            )
        if entry["unjudged"]:
            total = entry["samples"] // (measurement.samples if measurement.keep_shortest else 1)
            count = f"{entry['unjudged']} of {total} {units} of {entry['label']}"
            found.append(f"{count} could not be graded; accuracy leaves them out.")
    if evaluation.manifest.num_problems < FEW_PROBLEMS:
        found.append(f"{evaluation.manifest.num_problems} problems are few: the intervals are rough.")
    if evaluation.manifest.num_dropped and measurement.imported_from:
        found.append(f"{evaluation.manifest.num_dropped} problems were left out: not all of their samples are there.")
    elif evaluation.manifest.num_dropped:
        found.append(
            f"{evaluation.manifest.num_dropped} rows were left out: the verifier did not accept their own answer."
        )
    return found
