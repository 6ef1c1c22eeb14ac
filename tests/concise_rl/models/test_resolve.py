"""What a name of a model means."""

import shutil
from pathlib import Path

import pytest

from concise_rl.models.resolve import resolve_model


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json"])
def test_a_model_with_a_file_that_was_cut_short_is_refused_and_the_file_named(tmp_path: Path, name: str) -> None:
    shutil.copytree(resolve_model("tiny:base"), tmp_path / "model")
    file = tmp_path / "model" / name
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(ValueError, match=rf"{name} is damaged: fetch that model again"):
        resolve_model(str(tmp_path / "model"))
