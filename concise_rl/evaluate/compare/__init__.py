"""Finished evaluations in one table, on one page: what the command `concise-rl compare` does."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from concise_rl.evaluate.compare.failed import FailedRun

if TYPE_CHECKING:  # numbers and figures cost imports, which the command's help must not wait for
    from concise_rl.evaluate.evaluation import Evaluation

MARGIN = 2.0
"""Points by which an accuracy may be lower and still pass for equal."""


@dataclass(frozen=True)
class Comparison:
    """Hold what was compared.

    Attributes:
        evaluation: all folders as one, its labels sorted.
        report: the content of `compare.json`.
        page: where `compare.html` lies.
    """

    evaluation: "Evaluation"
    report: dict[str, Any]
    page: Path


def compare(
    folders: Sequence[Path],
    out: Path,
    labels: Sequence[tuple[str, str]] = (),
    baseline: str | None = None,
    sort: str | None = None,
    margin: float = MARGIN,
    failed: Sequence[FailedRun] = (),
    pairs: Sequence[tuple[str, str]] = (),
    made_by: Sequence[str] = (),
) -> Comparison:
    """Compare finished evaluations; write `compare.json`, `compare.html` and `plots/*.png` into `out`.

    Args:
        folders: that `concise-rl eval` wrote, measured alike.
        out: made if need be. It may be one of the folders.
        labels: (`DIR` or `DIR/LABEL`, new name) pairs. One name for several models: training seeds of one method.
        baseline: a label, or the folder whose baseline it is; None for the one that the folders share.
        sort: a key of `columns.COLUMNS`; None for AES, or accuracy where there is no baseline.
        margin: points by which an accuracy may be lower and still pass for equal.
        failed: runs to show as failed.
        pairs: of labels that are compared in more detail, the first minus the second.
        made_by: the commands that trained and measured, to show with the rest.

    Raises:
        ValueError: when a folder holds no finished evaluation, the folders were not measured alike, or a label, the
            baseline, the column or the margin cannot be used.
    """
    if not 0 <= margin <= 100:
        raise ValueError(f"The margin is {margin:g}: it is points of accuracy, from 0 to 100.")
    from concise_rl.evaluate.compare.join import join
    from concise_rl.evaluate.compare.page import write_comparison
    from concise_rl.evaluate.compare.report import build_comparison

    report, evaluation = build_comparison(join(folders, out, labels, baseline), sort, margin, failed, pairs)
    report["command"] = command_of(folders, out, labels, baseline, sort, margin, pairs)
    report["made_by"] = list(made_by)
    return Comparison(evaluation, report, write_comparison(report, evaluation, out))


def command_of(
    folders: Sequence[Path],
    out: Path,
    labels: Sequence[tuple[str, str]],
    baseline: str | None,
    sort: str | None,
    margin: float,
    pairs: Sequence[tuple[str, str]] = (),
) -> str:
    """Write the command that makes the comparison again."""
    options: list[tuple[str, ...]] = [("--label", f"{place}={name}") for place, name in labels]
    options += [("--baseline", baseline)] if baseline else []
    options += [("--sort", sort)] if sort else []
    options += [("--margin", f"{margin:g}")] if margin != MARGIN else []
    options += [("--pair", *pair) for pair in pairs]
    words = ["concise-rl", "compare", *map(str, folders), *(word for option in options for word in option)]
    return shlex.join([*words, "--out", str(out)])
