"""`sweep.json` keeps one sweep in a folder."""

from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest

from concise_rl.evaluate.spec import Manifest
from concise_rl.files import write_atomically
from concise_rl.sweep.measure import measurement_of, spec_of
from concise_rl.sweep.plan import Run
from concise_rl.sweep.record import Record, merge, read_record
from tests.concise_rl.sweep.small import make_trained, planned

NOTHING_GIVEN: dict[str, Any] = dict.fromkeys(
    (
        *("task", "split", "problems", "samples", "max_tokens", "eval_temperature", "eval_top_p"),
        *("engine", "batch_size", "prompt_column", "answer_column"),
    )
)


def recorded(runs: list[Run], out: Path, **given: Any) -> Record:
    """What a command makes of a folder's record."""
    out.mkdir(exist_ok=True)
    record = merge(read_record(out), runs, measurement_of(runs, Namespace(**{**NOTHING_GIVEN, **given})), out)
    record.write(out)
    return record


def test_recipes_and_seeds_can_be_added_to_a_sweep(tmp_path: Path) -> None:
    out = tmp_path / "sweep"
    recorded(planned(out, "grpo"), out)
    record = recorded(planned(out, "grpo_lambda", "grpo", seeds=2), out)
    assert [*record.recipes] == ["grpo", "grpo_lambda"] and len(record.runs) == 4
    assert read_record(out) == record


def test_a_recipe_that_has_changed_is_refused_with_the_keys_that_differ(tmp_path: Path) -> None:
    out = tmp_path / "sweep"
    recorded(planned(out, "grpo"), out)
    changed = planned(out, "grpo", words=["--learning_rate=1e-6", "--max_steps=2"])
    with pytest.raises(
        ValueError, match=r"another grpo \(learning_rate: 5e-05 there, '1e-6' now; num_rows: 64 there, 4096 now"
    ):
        recorded(changed, out)


def test_what_nothing_learnt_depends_on_may_change(tmp_path: Path) -> None:
    out = tmp_path / "sweep"
    recorded(planned(out, "grpo", words=["--save_steps=1"]), out)
    recorded(planned(out, "grpo", words=["--save_steps=2"]), out)


def test_a_sweep_that_was_measured_otherwise_is_refused(tmp_path: Path) -> None:
    out = tmp_path / "sweep"
    runs = planned(out, "grpo")
    make_trained(runs[0])
    measurement = recorded(runs, out, problems=1, samples=1).measurement
    assert measurement is not None
    spec = spec_of(runs, measurement)
    manifest = Manifest(**dict(spec), num_problems=1, num_dropped=0, versions={})
    write_atomically(out / "eval/eval.json", manifest.model_dump_json())
    with pytest.raises(ValueError, match="measured otherwise \\(problems: 1 there, 2 now"):
        recorded(runs, out, problems=2, samples=1)


@pytest.mark.parametrize("name", ["notes.txt", "recipe.json", "eval.json"])
def test_a_folder_that_is_no_sweeps_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("{}")
    with pytest.raises(ValueError, match="no sweep's folder: give another --out"):
        read_record(tmp_path)


def test_a_folder_that_holds_only_runs_is_taken_over(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    (tmp_path / "grpo-0.log").touch()
    assert read_record(tmp_path) == Record()


def test_a_record_that_cannot_be_read_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "sweep.json").write_text('{"runs": 3}')
    with pytest.raises(ValueError, match=r"sweep.json cannot be read \(runs: .*\): delete it, the runs stay"):
        read_record(tmp_path)
