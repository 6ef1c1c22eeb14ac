import json
from pathlib import Path

import pytest

from concise_rl.evaluate.evaluation import read_evaluation
from concise_rl.evaluate.training import read_metrics, record_trainings, training_panels
from tests.concise_rl.evaluate.fabric import sample, write_evaluation


def trained(folder: Path, steps: list[int]) -> Path:
    folder.mkdir(exist_ok=True)
    rows = [{"step": step, "correct/mean": step / 10, "loss": 1.0} for step in steps]
    lines = [json.dumps(row) for row in [*rows, {"step": steps[-1], "train_runtime": 3.0}]]
    (folder / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    return folder


def test_the_metrics_of_a_training_are_read_by_step(tmp_path: Path) -> None:
    assert read_metrics(trained(tmp_path, [1, 2])) == {"correct/mean": {"steps": [1, 2], "values": [0.1, 0.2]}}


def test_a_step_that_was_made_twice_counts_once(tmp_path: Path) -> None:
    assert read_metrics(trained(tmp_path, [1, 2, 2, 3]))["correct/mean"]["steps"] == [1, 2, 3]


def test_a_checkpoint_has_the_metrics_up_to_it(tmp_path: Path) -> None:
    assert read_metrics(trained(tmp_path, [1, 2, 3]) / "checkpoint-2")["correct/mean"]["steps"] == [1, 2]


def test_a_model_that_was_not_trained_here_has_none(tmp_path: Path) -> None:
    assert read_metrics(tmp_path) == {} == read_metrics(Path("tiny:base"))


def test_a_line_that_is_no_json_is_named(tmp_path: Path) -> None:
    (trained(tmp_path, [1]) / "metrics.jsonl").write_text('{"step": 1}\nnonsense\n')
    with pytest.raises(ValueError, match=r"metrics.jsonl, line 2 is no JSON object: delete that line"):
        read_metrics(tmp_path)


def test_a_line_that_is_being_written_does_not_count(tmp_path: Path) -> None:
    with (trained(tmp_path, [1, 2]) / "metrics.jsonl").open("a") as file:
        file.write('{"step": 3, "corr')
    assert read_metrics(tmp_path)["correct/mean"]["steps"] == [1, 2]


def test_an_evaluation_keeps_the_training_when_the_model_is_gone(tmp_path: Path) -> None:
    manifest = write_evaluation(tmp_path / "e", [sample(0, 0)], ("grpo", [sample(0, 0)]), problems=1, samples=1)
    run = manifest.models[0].model_copy(update={"model": str(trained(tmp_path / "run", [1, 2]))})
    record_trainings(tmp_path / "e", manifest.model_copy(update={"models": (run,)}))
    (tmp_path / "run/metrics.jsonl").unlink()
    record_trainings(tmp_path / "e", manifest)
    (panel,) = training_panels(read_evaluation(tmp_path / "e"))
    (series,) = panel.series
    assert (series.label, series.x, series.y, series.color) == ("grpo", [1, 2], [0.1, 0.2], 1)
