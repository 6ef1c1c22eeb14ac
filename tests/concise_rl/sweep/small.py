"""Sweeps small enough for a test: the tiny recipes for a few steps, and folders that look trained."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from concise_rl.files import MARKER
from concise_rl.models.resolve import resolve_model
from concise_rl.sweep.plan import Run, plan_runs
from concise_rl.train.folder import claim_folder

ROOT = Path(__file__).parents[3]
TINY = ROOT / "recipes/tiny"
SHORT = {"max_steps": 2, "save_steps": 1, "num_rows": 64, "per_device_train_batch_size": 16}
WORDS = [f"--{key}={value}" for key, value in SHORT.items()]


def recipes(*names: str) -> list[Path]:
    return [TINY / f"{name}.yaml" for name in names]


def planned(out: Path, *names: str, seeds: int = 1, words: Sequence[str] = WORDS) -> list[Run]:
    return plan_runs(recipes(*names), seeds, out, words)


def variant(folder: Path, name: str, old: str, new: str, of: str = "grpo") -> Path:
    """A tiny recipe in which a text stands for another, under a name of its own."""
    text = (TINY / f"{of}.yaml").read_text()
    assert old in text
    path = folder / f"{name}.yaml"
    path.write_text(text.replace(old, new))
    return path


def make_trained(run: Run) -> None:
    """Leave what a finished training leaves; the weights are those of the base model."""
    claim_folder(run.recipe)
    shutil.copytree(resolve_model("tiny:base"), run.folder, dirs_exist_ok=True)
    (run.folder / MARKER).write_text("")
