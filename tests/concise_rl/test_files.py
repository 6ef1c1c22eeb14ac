"""Files that others may read, and that are whole."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from transformers import AutoConfig

from concise_rl.files import forget_later, open_up, read_object, write_atomically
from concise_rl.models.resolve import resolve_model
from concise_rl.rollout.sync.weights import write_weights


@contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    yield
    os.umask(before)


def modes(folder: Path) -> set[int]:
    return {path.stat().st_mode & 0o777 for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o002, 0o664), (0o077, 0o600)])
def test_files_have_the_permissions_of_the_umask(tmp_path: Path, mask: int, mode: int) -> None:
    with umask(mask):
        write_atomically(tmp_path / "report.json", "{}")
        save_file({"w": torch.ones(1)}, tmp_path / "model.safetensors")
        open_up(tmp_path)
    assert modes(tmp_path) == {mode}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.safetensors", "report.json"]


def test_weights_for_a_server_can_be_read_by_another_user(tmp_path: Path) -> None:
    with umask(0o022):
        config = AutoConfig.from_pretrained(resolve_model("tiny:base"))
        write_weights(tmp_path / "step-0", iter([("w", torch.ones(1))]), config)
    assert modes(tmp_path) == {0o644}


def test_a_write_that_fails_leaves_the_file_as_it_was(tmp_path: Path, monkeypatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    write_atomically(tmp_path / "a", "before")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_atomically(tmp_path / "a", "after")
    assert (tmp_path / "a").read_text() == "before"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize("content", ["", "{", "[1]", "\x00\x00"])
def test_a_file_that_holds_no_json_object_is_named(tmp_path: Path, content: str) -> None:
    file = tmp_path / "recipe.json"
    file.write_text(content)
    with pytest.raises(ValueError, match=r"recipe\.json is damaged: it holds no JSON object\. Put it back"):
        read_object(file)


def test_a_line_without_a_step_is_named_where_each_has_one(tmp_path: Path) -> None:
    file = tmp_path / "metrics.jsonl"
    file.write_text('{"step": 1}\n{"loss": 2}\n')
    with pytest.raises(ValueError, match=r"metrics\.jsonl has a line without a step: delete that line"):
        forget_later(file, 1)
