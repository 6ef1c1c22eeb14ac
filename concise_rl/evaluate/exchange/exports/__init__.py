"""The formats to export to, one file each."""

from pathlib import Path

from concise_rl.errors import unknown
from concise_rl.evaluate.evaluation import read_evaluation
from concise_rl.evaluate.exchange.exports import inspect, lm_eval
from concise_rl.evaluate.exchange.exports.run import exported_runs

EXPORTS = {"inspect": inspect.write, "lm-eval": lm_eval.write}


def export(folder: Path, to: str, out: Path) -> list[Path]:
    """Write every run of an evaluation in another tool's format.

    Args:
        folder: of the evaluation.
        to: a name in `EXPORTS`.
        out: where the files go.

    Returns:
        What was written.

    Raises:
        ValueError: for an unknown format, samples that are missing, or a package that is not installed.
    """
    if to not in EXPORTS:
        raise unknown("format", to, EXPORTS)
    if out.exists() and not out.is_dir():
        raise ValueError(f"{out} is a file: `--out` is a folder.")
    return [path for run in exported_runs(read_evaluation(folder)) for path in EXPORTS[to](run, out)]
