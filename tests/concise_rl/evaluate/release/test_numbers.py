"""What the hub reads of a released model's numbers."""

from pathlib import Path

import yaml

from concise_rl.evaluate.release.beside import write_reports
from concise_rl.evaluate.release.measured import portable
from concise_rl.evaluate.release.numbers import Measured


def measured(task: str, revision: str | None) -> Measured:
    """What a report says of a model without a baseline."""
    what = {
        "task": task,
        "split": "test",
        "samples": 4,
        "max_tokens": 100,
        "temperature": 0.6,
        "data_revision": revision,
    }
    entry = {"accuracy": 0.5, "tokens": 20.0}
    return Measured("mine", "base", entry, None, {"measurement": what, "versions": {}})


def test_a_benchmark_by_name_is_its_data_set_on_the_hub(tmp_path: Path) -> None:
    write_reports({tmp_path: measured("gsm8k", "abc")}, tmp_path)
    (entry,) = yaml.safe_load((tmp_path / ".eval_results/gsm8k.yaml").read_text())
    assert entry["dataset"] == {"id": "openai/gsm8k", "task_id": "main", "revision": "abc"}
    assert entry["value"] == 50.0 and "20.0 tokens a sample" in entry["notes"]


def test_a_report_is_released_without_the_paths_of_the_machine(tmp_path: Path) -> None:
    report = {"methods": [{"model": str(tmp_path / "mine"), "task": "openai/gsm8k", "accuracy": 0.5}]}
    assert portable(report) == {"methods": [{"model": "mine", "task": "openai/gsm8k", "accuracy": 0.5}]}


def test_problems_that_are_not_on_the_hub_have_no_entry_there(tmp_path: Path) -> None:
    write_reports({tmp_path: measured("tiny:sums", None)}, tmp_path)
    assert not (tmp_path / ".eval_results").exists()
