"""The folders by which weights are handed over."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from huggingface_hub import save_torch_state_dict
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedModel

from concise_rl.models.resolve import resolve_model
from concise_rl.rollout.sync import weights
from concise_rl.rollout.sync.weights import MARKER, check_complete, drop_old, write_weights


@pytest.fixture(scope="module")
def model() -> PreTrainedModel:
    return AutoModelForCausalLM.from_pretrained(resolve_model("tiny:base"))


def test_what_is_written_is_the_model(model, tmp_path: Path) -> None:
    write_weights(tmp_path / "new" / "step-1", model.named_parameters(), model.config)
    check_complete(tmp_path / "new" / "step-1")
    read = AutoModelForCausalLM.from_pretrained(tmp_path / "new" / "step-1")
    assert all(torch.equal(read.state_dict()[name], value) for name, value in model.state_dict().items())


def test_a_tied_tensor_may_come_under_both_its_names(model, tmp_path: Path) -> None:
    names = dict(model.named_parameters(remove_duplicate=False))
    assert names["lm_head.weight"] is names["model.embed_tokens.weight"]
    write_weights(tmp_path / "step-1", names.items(), model.config)
    read = AutoModelForCausalLM.from_pretrained(tmp_path / "step-1")
    assert torch.equal(read.lm_head.weight, model.lm_head.weight)


def test_a_tensor_that_changes_when_the_next_is_asked_for_is_written_as_it_was(model, tmp_path: Path) -> None:
    def gathered() -> Iterator[tuple[str, Tensor]]:
        for name, param in model.named_parameters():
            alive = param.detach().clone()
            yield name, alive
            alive.fill_(7.0)

    write_weights(tmp_path / "step-1", gathered(), model.config)
    read = AutoModelForCausalLM.from_pretrained(tmp_path / "step-1")
    assert all(torch.equal(a, b) for a, b in zip(read.parameters(), model.parameters(), strict=True))


def test_a_rank_that_does_not_write_asks_for_every_tensor_and_leaves_nothing(model, tmp_path: Path) -> None:
    asked = iter(model.named_parameters())
    write_weights(tmp_path / "step-1", asked, model.config, write=False)
    assert next(asked, None) is None and not list(tmp_path.iterdir())


def test_an_older_folder_of_the_name_is_replaced(model, tmp_path: Path) -> None:
    write_weights(tmp_path / "step-1", ((n, p + 1) for n, p in model.named_parameters()), model.config)
    (tmp_path / "step-1" / "left.over").touch()
    write_weights(tmp_path / "step-1", model.named_parameters(), model.config)
    read = AutoModelForCausalLM.from_pretrained(tmp_path / "step-1")
    assert torch.equal(read.lm_head.weight, model.lm_head.weight)
    assert not (tmp_path / "step-1" / "left.over").exists()


def test_a_full_disk_leaves_the_older_folder_and_no_other(model, tmp_path: Path, monkeypatch) -> None:
    write_weights(tmp_path / "step-1", model.named_parameters(), model.config)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(weights, "save_torch_state_dict", full)
    with pytest.raises(OSError, match="No space left"):
        write_weights(tmp_path / "step-1", model.named_parameters(), model.config)
    assert os.listdir(tmp_path) == ["step-1"]
    check_complete(tmp_path / "step-1")


def test_a_checkpoint_without_one_of_its_shards_is_named_as_not_complete(model, tmp_path: Path) -> None:
    model.config.save_pretrained(tmp_path)
    save_torch_state_dict(model.state_dict(), tmp_path, max_shard_size="1MB")
    check_complete(tmp_path)
    (tmp_path / "model-00002-of-00004.safetensors").unlink()
    with pytest.raises(ValueError, match=r"model-00002-of-00004\.safetensors missing"):
        check_complete(tmp_path)


def test_a_checkpoint_that_was_cut_short_is_named(model, tmp_path: Path) -> None:
    write_weights(tmp_path / "step-1", model.named_parameters(), model.config)
    file = tmp_path / "step-1" / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-8])
    with pytest.raises(ValueError, match=r"model\.safetensors cannot be read .* write it again"):
        check_complete(tmp_path / "step-1")


def test_a_folder_that_is_not_there_is_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"config\.json, model\.safetensors missing"):
        check_complete(tmp_path / "nowhere")


def written_at(path: Path, seconds: int = 0) -> None:
    path.mkdir()
    (path / MARKER).touch()
    os.utime(path / MARKER, (1e9 + seconds, 1e9 + seconds))


def test_the_folders_of_the_latest_steps_stay_though_the_clock_was_set_back(tmp_path: Path) -> None:
    for step, seconds in ((8, 30), (9, 20), (10, 10)):
        written_at(tmp_path / f"step-{step}", seconds)
    drop_old(tmp_path, 10)
    assert {p.name for p in tmp_path.iterdir()} == {"step-9", "step-10"}


def test_a_run_that_went_back_keeps_what_it_has_now_and_not_what_it_had_later(tmp_path: Path) -> None:
    for step in (9, 10, 49, 50):
        written_at(tmp_path / f"step-{step}")
    drop_old(tmp_path, 10)
    assert {p.name for p in tmp_path.iterdir()} == {"step-9", "step-10"}


def test_nothing_is_dropped_that_was_written_by_others_and_all_that_was_torn(tmp_path: Path) -> None:
    (tmp_path / "checkpoint-1").mkdir()
    (tmp_path / "log.txt").touch()
    written_at(tmp_path / ".step-3.partial")
    for step in range(3):
        written_at(tmp_path / f"step-{step}")
    drop_old(tmp_path, 2, keep=1)
    assert {p.name for p in tmp_path.iterdir()} == {"checkpoint-1", "log.txt", "step-2"}
