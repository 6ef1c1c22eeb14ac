"""The report on exits as one HTML page without any outside resource."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from concise_rl.evaluate import text
from concise_rl.evaluate.exits import wording
from concise_rl.evaluate.exits.points import title
from concise_rl.evaluate.plots import svg
from concise_rl.output.pages import write_page
from concise_rl.output.pages.palette import color_index


def write_exits_page(report: Mapping[str, Any], figure: Figure, path: Path) -> None:
    """Render `exits.html`."""
    write_page(
        path,
        "exits.html.j2",
        "concise_rl.evaluate.exits",
        report=report,
        rows=wording.rows_of(report),
        heading=wording.heading(report),
        sentences=wording.sentences(report),
        caption=wording.CAPTION,
        figure=svg(figure, "exits"),
        write=text,
        title=title,
        color_index=color_index,
    )
