"""Only whole checkpoints are resumed from."""

import logging
from pathlib import Path

import pytest

from concise_rl.train.checkpoint import last_complete, last_of_all, mark_complete, name_shards
from tests.concise_rl.train.test_trainer import trainer_of


def checkpoint(run: Path, step: int, complete: bool) -> Path:
    folder = run / f"checkpoint-{step}"
    folder.mkdir()
    (folder / "weights").write_text("weights")
    if complete:
        mark_complete(run, step)
    return folder


def test_the_newest_complete_checkpoint_is_found(tmp_path: Path) -> None:
    checkpoint(tmp_path, 9, complete=True)
    newest = checkpoint(tmp_path, 10, complete=True)
    assert last_complete(tmp_path) == newest


def test_a_torn_checkpoint_is_passed_over_and_named(tmp_path: Path, caplog) -> None:
    whole = checkpoint(tmp_path, 10, complete=True)
    checkpoint(tmp_path, 20, complete=False)
    with caplog.at_level(logging.WARNING):
        assert last_complete(tmp_path) == whole
    assert "checkpoint-20 is incomplete" in caplog.text


def test_without_a_complete_checkpoint_there_is_none(tmp_path: Path) -> None:
    checkpoint(tmp_path, 5, complete=False)
    (tmp_path / "checkpoint-best").mkdir()
    assert last_complete(tmp_path) is None


def with_another_rank(monkeypatch: pytest.MonkeyPatch, steps: list[int]) -> None:
    """Let there be another rank, whose machine has complete checkpoints of these steps."""
    monkeypatch.setattr("concise_rl.train.checkpoint.gather_object", lambda mine: [*mine, ("other", steps)])


def test_ranks_with_disks_of_their_own_go_on_from_what_is_complete_on_all(tmp_path: Path, monkeypatch) -> None:
    for step in (10, 20, 30):
        checkpoint(tmp_path, step, complete=True)
    with_another_rank(monkeypatch, [20, 10])
    assert last_of_all(tmp_path) == tmp_path / "checkpoint-20"


def test_a_machine_that_lacks_every_checkpoint_is_named(tmp_path: Path, monkeypatch) -> None:
    checkpoint(tmp_path, 30, complete=True)
    with_another_rank(monkeypatch, [])
    with pytest.raises(ValueError, match=r"checkpoint-30 .* is not complete on all machines: other \(rank 1\) lack it"):
        last_of_all(tmp_path)


def test_the_first_rank_of_another_machine_writes_weights_that_it_can_go_on_from(tmp_path: Path, monkeypatch) -> None:
    trainer = trainer_of(tmp_path / "run")
    monkeypatch.setattr("transformers.distributed.mixin._is_torch_distributed_initialized", lambda: True)
    monkeypatch.setattr("transformers.distributed.mixin._get_torch_distributed_rank", lambda: 1)
    monkeypatch.setattr(trainer, "is_world_process_zero", lambda: False)
    trainer._save(str(tmp_path / "disk"))
    assert (tmp_path / "disk/model.safetensors").is_file()


def test_deepspeeds_shards_are_named_on_each_disk(tmp_path: Path) -> None:
    (tmp_path / "global_step7").mkdir()
    name_shards(tmp_path)
    assert (tmp_path / "latest").read_text() == "global_step7"


def test_where_no_machine_has_a_checkpoint_there_is_none(tmp_path: Path, monkeypatch) -> None:
    with_another_rank(monkeypatch, [])
    assert last_of_all(tmp_path) is None


def test_the_old_checkpoint_is_deleted_only_when_the_new_one_is_whole(tmp_path: Path, monkeypatch) -> None:
    def torn_at_the_second(folder: str, step: int, by: dict[str, int]) -> None:
        if step == 2:
            raise KeyboardInterrupt
        mark_complete(folder, step, by)

    monkeypatch.setattr("concise_rl.train.checkpoint.mark_complete", torn_at_the_second)
    trainer = trainer_of(tmp_path, save_strategy="steps", save_steps=1, save_total_limit=1)
    with pytest.raises(KeyboardInterrupt):
        trainer.train()
    assert last_complete(tmp_path) == tmp_path / "checkpoint-1"


def test_as_many_checkpoints_are_kept_as_wanted(tmp_path: Path) -> None:
    trainer_of(tmp_path, save_strategy="steps", save_steps=1, save_total_limit=1).train()
    assert [path.name for path in tmp_path.glob("checkpoint-*")] == ["checkpoint-2"]
