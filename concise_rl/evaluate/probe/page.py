"""The page of a probe."""

from pathlib import Path

from concise_rl.evaluate.probe.probe import Probe


def write_pages(folder: Path, probe: Probe, recipe: str | None) -> None:
    """Write `probe.html`."""
