"""Write what a comparison says as one JSON value: the report of all labels, sorted, with the front and the pairs."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from concise_rl.errors import unknown
from concise_rl.evaluate.compare.columns import COLUMNS, DEFAULTS, NEEDS_BASELINE
from concise_rl.evaluate.compare.contrasts import contrast_all
from concise_rl.evaluate.compare.failed import FailedRun
from concise_rl.evaluate.compare.front import Means, dominators, front_shares, on_front, resample
from concise_rl.evaluate.compare.join import Joined
from concise_rl.evaluate.compare.pairs import Pair, compare_pairs
from concise_rl.evaluate.compare.training import describe_training
from concise_rl.evaluate.evaluation import Evaluation
from concise_rl.evaluate.report import build_report
from concise_rl.evaluate.text import all_entries
from concise_rl.evaluate.training import training_path

Report = dict[str, Any]


def build_comparison(
    joined: Joined,
    sort: str | None,
    margin: float,
    failed: Sequence[FailedRun] = (),
    chosen: Sequence[tuple[str, str]] = (),
) -> tuple[Report, Evaluation]:
    """Count what there is to compare.

    Args:
        joined: several evaluations as one.
        sort: name of a column; None for AES, or for accuracy where there is no baseline.
        margin: points by which an accuracy may be lower and still pass for equal.
        failed: runs that have no evaluation.
        chosen: pairs of labels to compare in more detail.

    Returns:
        The content of `compare.json`, and the evaluation with its labels in the same order.

    Raises:
        ValueError: for an unknown column or label, or a column that needs a baseline where there is none.
    """
    contrasts = contrast_all(joined.evaluation, chosen)
    by = _sort_column(sort, joined.evaluation)
    report = build_report(joined.evaluation)
    pairs = _compare_all(report, joined.evaluation, margin)
    order = sorted(range(len(report["methods"])), key=lambda i: COLUMNS[by].sort_key(report["methods"][i]))
    report["methods"] = [report["methods"][i] for i in order]
    first = report["methods"][0]
    report |= {"model": first} | {n: first[n] for n in ("token_savings", "accuracy_change", "aes", "samples")}
    report |= {
        "sorted_by": by,
        "margin": margin,
        "pairs": pairs,
        "contrasts": [asdict(one) for one in contrasts],
        "training": describe_training(joined.evaluation),
        "failed": [asdict(run) for run in failed],
        "sources": [str(folder) for folder in joined.sources],
        "notes": list(joined.notes),
    }
    report["warnings"] = [*joined.warnings, *report["warnings"]]
    return report, replace(joined.evaluation, labels=tuple(joined.evaluation.labels[i] for i in order))


def _sort_column(sort: str | None, evaluation: Evaluation) -> str:
    has_baseline = evaluation.baseline is not None
    if sort is None:
        return DEFAULTS[has_baseline]
    if sort not in COLUMNS:
        raise unknown("column", sort, COLUMNS)
    if sort in NEEDS_BASELINE and not has_baseline:
        raise ValueError(f"There is no baseline to count {sort!r} from. Name one, --baseline LABEL, or sort otherwise.")
    return sort


def _compare_all(report: Report, evaluation: Evaluation, margin: float) -> list[dict[str, Any]]:
    """Add to each entry where it stands; return the pairs, by label. The baseline is one of all."""
    entries: list[Any] = all_entries(report)
    labels = [label for _, label in evaluation.numbered]
    graded = [(entry, label) for entry, label in zip(entries, labels, strict=True) if entry["accuracy"] is not None]
    for entry, label in zip(entries, labels, strict=True):
        entry["front"] = None
        entry["trained"] = any(training_path(evaluation.paths[run]).is_file() for run in label.runs)
    if not graded:
        return []
    means = resample([label for _, label in graded])
    names = [entry["label"] for entry, _ in graded]
    for (entry, _), place in zip(graded, _places(means, names), strict=True):
        entry["front"] = place
    pairs = compare_pairs(means, margin / 100) if report["problems"] > 1 else []
    return [_named(pair, names) for pair in pairs]


def _places(means: Means, names: Sequence[str]) -> list[dict[str, Any] | None]:
    """Say where each method stands to the front; None where no problem was graded for all of them."""
    if np.isnan(means.accuracy_M).any():
        return [None] * len(names)
    front_M, shares_M = on_front(means.tokens_M, means.accuracy_M), front_shares(means)
    by = dominators(means.tokens_M, means.accuracy_M)
    return [
        {
            "on_front": bool(front_M[i]),
            "share": float(shares_M[i]),
            "dominated_by": None if (other := by[i]) is None else names[other],
        }
        for i in range(len(names))
    ]


def _named(pair: Pair, names: Sequence[str]) -> dict[str, Any]:
    return asdict(pair) | {"first": names[pair.first], "second": names[pair.second]}
