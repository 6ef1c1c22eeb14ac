"""Training on rows that are there: what another number of processes means for a run that goes on."""

import json
import logging
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from concise_rl.files import MARKER
from concise_rl.recipe.parse import parse_recipe
from concise_rl.train.checkpoint import check_shards, mark_complete
from concise_rl.train.finish import finish_training
from concise_rl.train.folder import check_folder
from concise_rl.train.offline import what_changes
from tests.concise_rl.train.test_finite import demonstrations
from tests.concise_rl.train.test_run import begun

SFT = Path(__file__).parents[3] / "recipes/tiny/sft.yaml"
SAVING: dict[str, Any] = {"save_strategy": "steps", "save_steps": 1}


def test_a_run_that_goes_on_with_other_processes_says_what_that_changes(tmp_path: Path, caplog) -> None:
    finish_training(demonstrations(tmp_path, **SAVING), str(tmp_path))
    shutil.rmtree(tmp_path / "checkpoint-3")
    (tmp_path / MARKER).unlink()
    marker = tmp_path / "checkpoint-2" / MARKER
    marker.write_text(json.dumps(json.loads(marker.read_text()) | {"processes": 4}))
    with caplog.at_level(logging.WARNING):
        finish_training(demonstrations(tmp_path, **SAVING), str(tmp_path))
    assert "The checkpoint was written by 4 processes and goes on with 1. Steps have the same rows" in caplog.text


@pytest.mark.parametrize(
    ("rows", "order", "said"),
    [
        (8, "random", "Steps have the same rows: only the rounding of sums changes"),
        (16, "random", "A step has 16 rows, not 8: this epoch's rows come in other batches"),
        (8, "group_by_length", "With train_sampling_strategy group_by_length this epoch's rows come in other batches"),
    ],
)
def test_what_other_processes_change_follows_from_the_rows_of_a_step(rows: int, order: str, said: str) -> None:
    assert said in what_changes({"processes": 2, "rows": 8}, {"processes": 1, "rows": rows}, order)


def test_nothing_is_said_where_as_many_processes_go_on_or_nothing_is_known() -> None:
    now = {"processes": 2, "rows": 8}
    assert what_changes(now, now, "random") == what_changes({}, now, "random") == ""


def test_a_step_may_be_cut_otherwise_where_it_has_as_many_rows(tmp_path: Path) -> None:
    settings = begun(tmp_path / "run", recipe=SFT)
    (tmp_path / "run" / "checkpoint-1").mkdir()
    mark_complete(tmp_path / "run", 1, {"processes": 2, "rows": 64})
    check_folder(parse_recipe(SFT, [*settings, "--per_device_train_batch_size", "64"]))
    with pytest.raises(ValueError, match="holds another run"):
        check_folder(parse_recipe(SFT, [*settings, "--per_device_train_batch_size", "16"]))


def test_shards_of_other_processes_are_refused_before_they_are_loaded(tmp_path: Path) -> None:
    (tmp_path / "checkpoint-1").mkdir()
    mark_complete(tmp_path, 1, {"processes": 4, "rows": 8})
    of_two = SimpleNamespace(
        is_deepspeed_enabled=True, is_fsdp_enabled=False, accelerator=SimpleNamespace(num_processes=2)
    )
    with pytest.raises(ValueError, match="cannot be resumed by 2 processes: it was written by 4, weights are in sh"):
        check_shards(of_two, tmp_path / "checkpoint-1")
    of_two.is_deepspeed_enabled = False
    check_shards(of_two, tmp_path / "checkpoint-1")
