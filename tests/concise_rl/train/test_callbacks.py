"""What a run tells of itself."""

import json
from pathlib import Path

from transformers import TrainerControl, TrainerState, TrainingArguments

from concise_rl.train.callbacks import MetricsFile


def begin(folder: Path, step: int) -> list[int]:
    """Steps left in the file of metrics when a run begins, or goes on, after so many."""
    state = TrainerState(global_step=step, is_world_process_zero=True)
    MetricsFile().on_train_begin(TrainingArguments(output_dir=str(folder), use_cpu=True), state, TrainerControl())
    return [json.loads(line)["step"] for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_a_resumed_run_drops_the_metrics_of_the_steps_it_makes_again(tmp_path: Path) -> None:
    lines = [json.dumps({"step": step}) for step in (1, 2, 3, 4)]
    (tmp_path / "metrics.jsonl").write_text("\n".join([*lines, '{"step": 5, "lo']))
    assert begin(tmp_path, 2) == [1, 2]


def test_a_run_that_was_cut_before_its_first_checkpoint_has_no_step_twice(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text('{"step": 1}\n{"step": 2}\n{"step": 3, "lo')
    assert begin(tmp_path, 0) == []
