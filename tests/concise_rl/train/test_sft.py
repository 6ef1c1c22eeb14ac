"""Supervised fine-tuning by recipe."""

import json
from pathlib import Path

from concise_rl.files import MARKER
from concise_rl.train.__main__ import main

SETTINGS = {
    "model_name_or_path": "tiny:base",
    "num_rows": 32,
    "max_steps": 3,
    "per_device_train_batch_size": 4,
    "save_strategy": "steps",
    "save_steps": 1,
    "logging_steps": 1,
    "disable_tqdm": True,
}
RECIPE = str(Path(__file__).parents[3] / "recipes/tiny/sft.yaml")


def train(folder: Path) -> dict[int, list[float]]:
    """Losses by step, of this run and those before it."""
    settings = {**SETTINGS, "output_dir": str(folder)}
    main(["--config", RECIPE, *(word for key, value in settings.items() for word in (f"--{key}", json.dumps(value)))])
    logged = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return {step: [log["loss"] for log in logged if log["step"] == step and "loss" in log] for step in (1, 2, 3)}


def test_an_interrupted_run_goes_on_from_its_last_complete_checkpoint(tmp_path: Path, capsys) -> None:
    run = tmp_path / "run"
    unbroken = train(run)
    (run / MARKER).unlink()
    (run / "checkpoint-3" / MARKER).unlink()
    assert train(run) == unbroken, "one line a step: the third is made again, and replaced"
    assert f"Resuming from {run / 'checkpoint-2'}" in capsys.readouterr().out
