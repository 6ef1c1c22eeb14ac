"""A suite's report as one HTML page without any outside resource."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib

from concise_rl.evaluate import text
from concise_rl.evaluate.plots import STYLE, accuracy_against_tokens, svg
from concise_rl.evaluate.suite.text import flat, headline, rows_of, task_count
from concise_rl.output.pages import write_page
from concise_rl.output.pages.palette import color_index

Report = Mapping[str, Any]


def write_suite_page(path: Path, report: Report, links: str = "report.html") -> None:
    """Write the page.

    Args:
        path: of the file.
        report: content of the suite's `report.json`.
        links: name of the page in the folder of each task.
    """
    entries = text.numbered_entries(report)
    write_page(
        path,
        "suite.html.j2",
        "concise_rl.evaluate.suite",
        report=report,
        links=links,
        headline=headline(report),
        counted=task_count(report),
        entries=[(color_index(i), entry, dict(rows_of(entry))) for i, entry in entries],
        figure=draw_means(report),
        write=text,
    )


def draw_means(report: Report) -> str:
    """Draw accuracy against tokens, as means over tasks; empty where no label has means."""
    known = [
        (i, {"label": entry["label"], "seeds": [], **flat(entry["macro"])})
        for i, entry in text.numbered_entries(report)
        if entry["macro"] and entry["macro"]["accuracy"]["value"] is not None
    ]
    if not known:
        return ""
    with matplotlib.rc_context(STYLE):
        return svg(accuracy_against_tokens(known, None), "means_over_tasks")
