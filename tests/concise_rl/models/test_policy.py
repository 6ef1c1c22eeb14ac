"""Where the policy comes from: nothing of another revision is read, and nothing is asked for twice."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from concise_rl.evaluate.engines import ServedModel
from concise_rl.models.resolve import resolve_model
from concise_rl.rollout.engines.transformers import load_engine
from concise_rl.rollout.sync import links
from tests.concise_rl.rollout.altered import altered
from tests.concise_rl.rollout.fake_server import FakeServer
from tests.concise_rl.train.test_trainer import trainer_of

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A hub id of which this machine has the revision `abc` and no other."""
    repository = tmp_path / "hub" / "models--org--reasoner"
    shutil.copytree(resolve_model("tiny:base"), repository / "snapshots" / COMMIT)
    (repository / "refs").mkdir()
    (repository / "refs" / "abc").write_text(COMMIT)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    return "org/reasoner"


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[tuple[tuple, dict[str, Any]]]:
    """What vLLM would be started with."""
    found: list[tuple[tuple, dict[str, Any]]] = []

    def start(*args: Any, **settings: Any) -> Any:
        found.append((args, settings))
        return SimpleNamespace(sleep=lambda: None)

    monkeypatch.setattr(links, "VllmEngine", start)
    return found


def test_all_of_a_policy_is_of_the_revision_that_is_asked_for(published: str, started, tmp_path: Path) -> None:
    loading = {"revision": "abc", "trust_remote_code": True}
    settings = {"model": published, "model_init_kwargs": loading, "use_vllm": True, "beta": 0.1}
    trainer = trainer_of(tmp_path / "run", **settings)
    assert trainer.model.config._commit_hash == trainer.ref_model.config._commit_hash == COMMIT
    assert trainer.args.model_init_kwargs == loading, "as it was given: it is logged, and saved"
    ((name, tokenizer, eos), settings) = started[0]
    assert (name, tokenizer, eos) == (published, trainer.processing_class, [1])
    assert (settings["revision"], settings["trust_remote_code"]) == ("abc", True)


def test_code_that_comes_with_a_model_is_trusted_by_either_setting(started, tmp_path: Path) -> None:
    for number, settings in enumerate(({"trust_remote_code": True}, {})):
        trainer_of(tmp_path / str(number), use_vllm=True, **settings)
    assert [settings["trust_remote_code"] for _, settings in started] == [True, False]


def test_an_evaluation_reads_a_model_of_the_revision_that_is_asked_for(published: str) -> None:
    assert load_engine(published, revision="abc").model.config._commit_hash == COMMIT
    with pytest.raises(OSError, match="couldn't find them in the cached files"):
        load_engine(published)
    with FakeServer() as fake, pytest.raises(ValueError, match="not 'org/reasoner'"):
        ServedModel([fake.url], published, revision="abc")


@pytest.mark.parametrize("cuda", [True, False])
def test_vllm_is_told_that_it_will_sleep_where_the_platform_can(started, tmp_path, monkeypatch, cuda: bool) -> None:
    slept: list[str] = []
    trainer = trainer_of(tmp_path, use_vllm=True)
    trainer.args.vllm_enable_sleep_mode = True
    monkeypatch.setattr(links, "start_beside", no_sleep_lost(links.start_beside, slept))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    links.Colocated(trainer)
    assert started[-1][1].get("enable_sleep_mode", False) is cuda
    assert slept == ["sleep"], "before the optimizer makes its states"


def no_sleep_lost(start: Callable, slept: list[str]) -> Callable:
    """The same, whose engine writes down that it sleeps."""

    def watched(trainer: Any) -> Any:
        engine = start(trainer)
        engine.sleep = lambda: slept.append("sleep")
        return engine

    return watched


QUANTIZED = {"load_in_4bit": True}


def test_a_quantized_model_is_not_handed_to_vllm(tmp_path: Path) -> None:
    loading = {"quantization_config": QUANTIZED}
    with pytest.raises(ValueError, match="packed weights of a quantized model cannot be handed to vLLM: set use_vllm"):
        trainer_of(tmp_path, use_vllm=True, model_init_kwargs=loading)


def test_a_model_that_was_quantized_before_is_not_handed_to_vllm_either(started, tmp_path: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(resolve_model("tiny:base"))
    model.config.quantization_config = QUANTIZED
    with pytest.raises(ValueError, match="packed weights of a quantized model"):
        trainer_of(tmp_path, use_vllm=True, model=model)
    assert not started


def test_training_takes_the_eos_of_the_generation_config_where_the_tokenizer_has_none(tmp_path: Path) -> None:
    folder = altered(tmp_path / "model", "tokenizer_config.json", drop=("eos_token", "pad_token"))
    trainer = trainer_of(tmp_path / "run", max_steps=1, model=folder, max_completion_length=90)
    trainer.train()
    ends = {rollout.ids[-1] for rollout in trainer.credited.judged.rollouts if len(rollout.ids) < 90}
    assert trainer.eos_token_ids == [1] and ends == {1}


def test_a_tokenizer_that_is_handed_over_without_eos_is_completed(tmp_path: Path) -> None:
    folder = altered(tmp_path / "model", "tokenizer_config.json", drop=("eos_token", "pad_token"))
    rows = trainer_of(tmp_path / "a").train_dataset
    given = AutoTokenizer.from_pretrained(folder)
    trainer = type(trainer_of(tmp_path / "b"))(folder, trainer_of(tmp_path / "c").args, rows, processing_class=given)
    assert trainer.processing_class is given and (given.eos_token_id, given.pad_token_id) == (1, 1)


def test_a_model_that_nothing_ends_is_refused_at_the_start(tmp_path: Path) -> None:
    folder = altered(tmp_path / "model", "tokenizer_config.json", drop=("eos_token",))
    for file in ("generation_config.json", "config.json"):
        altered_again(Path(folder), file)
    with pytest.raises(ValueError, match="no completion could end by itself"):
        trainer_of(tmp_path / "run", model=folder)


def altered_again(folder: Path, file: str) -> None:
    """Take the EOS out of a file of a model's folder."""
    found = json.loads((folder / file).read_text())
    (folder / file).write_text(json.dumps({key: value for key, value in found.items() if key != "eos_token_id"}))
