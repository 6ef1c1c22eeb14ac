"""Which checkpoint can be resumed from.

transformers writes a checkpoint in place and resumes from the highest number, complete or not. Here a marker is
written last, and only a folder that holds it counts.
"""

import logging
from pathlib import Path

from concise_rl.files import write_atomically

logger = logging.getLogger(__name__)

MARKER = "COMPLETE"


def mark_complete(output_dir: str | Path, step: int) -> None:
    """Mark the checkpoint of `step` as complete. Call when everything else of it is written."""
    write_atomically(Path(output_dir) / f"checkpoint-{step}" / MARKER, f"{step}\n")


def last_complete(output_dir: str | Path) -> Path | None:
    """The newest complete checkpoint of a run, or None. Torn ones that are newer are named in a warning."""
    found = [p for p in Path(output_dir).glob("checkpoint-*") if p.name.rpartition("-")[2].isdigit()]
    for path in sorted(found, key=lambda p: int(p.name.rpartition("-")[2]), reverse=True):
        if (path / MARKER).is_file():
            return path
        logger.warning("%s is incomplete (the run was stopped while writing it): passed over.", path)
    return None
