"""Direct preference optimization by recipe."""

import json
import math
from pathlib import Path

import pytest
from datasets import Dataset
from trl import DPOTrainer

from concise_rl.files import MARKER
from concise_rl.train.__main__ import main
from concise_rl.train.dpo import PreferenceTrainer
from tests.concise_rl.recipe.test_demonstrations import recipe_file

SETTINGS = {
    "max_steps": 3,
    "per_device_train_batch_size": 4,
    "gradient_checkpointing": False,
    "learning_rate": 1e-4,
    "save_strategy": "steps",
    "save_steps": 1,
    "logging_steps": 1,
    "disable_tqdm": True,
    "report_to": "none",
}


def train(folder: Path, **more: object) -> list[dict[str, float]]:
    """What was logged at each step, of this run and those before it."""
    main(["--config", recipe_file(folder, **SETTINGS, **more)])
    logged = [json.loads(line) for line in (folder / "run" / "metrics.jsonl").read_text().splitlines()]
    return [log for log in logged if "loss" in log]


def test_a_run_begins_at_the_reference_and_learns_what_is_preferred(tmp_path: Path) -> None:
    steps = train(tmp_path)
    assert steps[0]["loss"] == pytest.approx(math.log(2), abs=1e-4)
    assert steps[-1]["rewards/margins"] > steps[0]["rewards/margins"]


def test_an_interrupted_run_goes_on_from_its_last_complete_checkpoint(tmp_path: Path, capsys) -> None:
    unbroken = [step["loss"] for step in train(tmp_path)]
    run = tmp_path / "run"
    (run / MARKER).unlink()
    (run / "checkpoint-3" / MARKER).unlink()
    assert [step["loss"] for step in train(tmp_path)] == unbroken, "the third is made again, and replaced"
    assert f"Resuming from {run / 'checkpoint-2'}" in capsys.readouterr().out


def test_tokens_are_taken_as_they_are_and_conversations_left_to_trl(monkeypatch) -> None:
    monkeypatch.setattr(DPOTrainer, "_prepare_dataset", lambda *_, **__: "theirs")
    trainer = PreferenceTrainer.__new__(PreferenceTrainer)
    tokens = Dataset.from_dict({"prompt_ids": [[1]], "chosen_ids": [[2]], "rejected_ids": [[3]]})
    assert trainer._prepare_dataset(tokens, None, None, "train") is tokens
    assert trainer._prepare_dataset(Dataset.from_dict({"prompt": ["1"]}), None, None, "train") == "theirs"
