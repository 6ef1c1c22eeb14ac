"""What a sweep ends in: a table in the terminal and a page."""

from pathlib import Path

from rich.console import Console

from concise_rl.evaluate.report import write_report
from concise_rl.evaluate.text import terminal_table
from concise_rl.sweep.record import Record


def compare_runs(out: Path, record: Record, console: Console) -> None:
    """Compare what is measured, in the terminal and in a page.

    Args:
        out: the sweep's folder, with the evaluation in `eval`.
        record: of the sweep.
        console: where to print.
    """
    report = write_report(out / "eval")
    console.print(terminal_table(report))
    for warning in report["warnings"]:
        console.print(f"Warning: {warning}", style="yellow", markup=False)
    console.print(f"Report: {out / 'eval' / 'report.html'}", markup=False, highlight=False, soft_wrap=True)
