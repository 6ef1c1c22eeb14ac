"""Which checkpoint can be resumed from.

transformers writes a checkpoint in place and resumes from the highest number, complete or not. Here a marker is
written last, and only a folder that holds it counts.
"""

import logging
from pathlib import Path
from typing import Any

from transformers.trainer_utils import rotate_checkpoints

from concise_rl.files import write_atomically

logger = logging.getLogger(__name__)

MARKER = "COMPLETE"


class WholeCheckpoints:
    """For a trainer: marks each checkpoint when every rank has written its part, and only then deletes older ones.
    transformers deletes them first, and with `save_total_limit: 1` a run that is cut in between has none."""

    def _save_checkpoint(self: Any, model: Any, trial: Any) -> None:
        limit, self.args.save_total_limit = self.args.save_total_limit, None
        super()._save_checkpoint(model, trial)
        self.args.save_total_limit = limit
        self.accelerator.wait_for_everyone()
        if self.args.should_save:
            mark_complete(self.args.output_dir, self.state.global_step)
            rotate_checkpoints(self.args.output_dir, limit, self.state.best_model_checkpoint, use_mtime=True)


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
