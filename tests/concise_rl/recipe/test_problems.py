"""The rows that a run trains on: those that fit and can be judged, with the columns that are read."""

import json
import logging
import pickle
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from datasets import Dataset
from transformers import AutoTokenizer

from concise_rl import ConciseTrainer, to_messages
from concise_rl.models.context import context_length
from concise_rl.models.resolve import resolve_model
from concise_rl.recipe.parse import Recipe, parse_recipe
from concise_rl.recipe.problems import find_too_long, load_problems
from concise_rl.tasks.tiny import load_problems as tiny_problems
from concise_rl.verify.pool import VerifierPool
from tests.concise_rl.train.test_trainer import config
from tests.concise_rl.train.test_world_size import launch

TINY = str(Path(__file__).parents[3] / "recipes/tiny/grpo.yaml")
TINY_CONTEXT = 1024
OF_TRL = (
    *("prompts", "completions", "completion_ids", "completion", "trainer_state", "log_extra", "log_metric"),
    *("environment", "environments", "image", "images", "tools", "advantages", "rewards", "prompt_ids", "logprobs"),
    *("num_items_in_batch", "problem", "messages", "text", "labels", "label", "input_ids", "attention_mask"),
)
"""Names that TRL, transformers and this project use for things of their own."""


def recipe_of(folder: Path, rows: list[dict[str, Any]], **settings: Any) -> Recipe:
    """A recipe that trains the embedded reasoner on these rows."""
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    given = {"dataset": str(folder / "rows.jsonl"), "verifier": "exact", "output_dir": str(folder / "run"), **settings}
    given |= {"use_cpu": True, "num_rows": None}
    words = [(f"--{key}", value if isinstance(value, str) else json.dumps(value)) for key, value in given.items()]
    return parse_recipe(TINY, [word for pair in words for word in pair])


def sums(count: int) -> list[dict[str, Any]]:
    return [{"prompt": f"{i} + 1?", "answer": str(i + 1)} for i in range(count)]


def long_after(count: int) -> list[dict[str, Any]]:
    return [*sums(count), {"prompt": "1 + " * 400 + "1?", "answer": "401"}]


def load(recipe: Recipe) -> Any:
    with VerifierPool(recipe.training.verifier, workers=1) as pool:
        return load_problems(recipe, pool)


def test_a_prompt_that_does_not_fit_beside_the_cap_is_dropped_and_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture
) -> None:
    recipe = recipe_of(tmp_path, long_after(40), max_completion_length=512)
    with caplog.at_level(logging.WARNING):
        problems = load(recipe)
    assert problems["answer"][:] == [str(i + 1) for i in range(40)]
    assert "1 of 41 prompts are longer than the 512 tokens left" in caplog.text
    assert "row 40: " in caplog.text and " tokens: '1 + 1 + " in caplog.text
    assert "40 problems" in capsys.readouterr().out


def test_more_than_a_few_percent_of_prompts_that_do_not_fit_is_an_error(tmp_path: Path) -> None:
    recipe = recipe_of(tmp_path, long_after(4), max_completion_length=512, per_device_train_batch_size=8)
    with pytest.raises(ValueError, match=r"(?s)1 of 5 prompts.*longest has \d+ tokens.*lower max_completion_length"):
        load(recipe)


def test_a_cap_as_long_as_the_context_leaves_room_for_no_prompt(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="No prompt fits: the model's context is 1024, max_completion_length 1024"):
        load(recipe_of(tmp_path, sums(16), max_completion_length=TINY_CONTEXT))


def test_where_vllm_samples_its_own_limit_is_the_context(tmp_path: Path) -> None:
    settings = {"max_completion_length": 64, "use_vllm": True, "vllm_max_model_length": 65}
    with pytest.raises(ValueError, match=r"(?s)vllm_max_model_length is 65.*row 0.*Raise vllm_max_model_length"):
        load(recipe_of(tmp_path, sums(16), **settings))


@pytest.mark.parametrize("system_prompt", [None, "State the final answer."])
def test_a_prompt_is_as_long_as_the_trainer_writes_it(tmp_path: Path, system_prompt: str | None) -> None:
    """One token more, and it does not fit."""
    tokenizer: Any = AutoTokenizer.from_pretrained(resolve_model("tiny:base"))
    rows = sums(1)
    opening = [{"role": "system", "content": system_prompt}] if system_prompt else []
    read_there = {"chat_template": None, "tools": None, "_is_vlm": False, "environment_factories": None}
    trainer: Any = SimpleNamespace(processing_class=tokenizer, chat_template_kwargs={}, **read_there)
    chat = [*opening, {"role": "user", "content": rows[0]["prompt"]}]
    ((ids,), *_) = ConciseTrainer._tokenize_prompts(trainer, [chat])
    more = {"system_prompt": system_prompt} if system_prompt else {}
    fits = recipe_of(tmp_path, rows, max_completion_length=TINY_CONTEXT - len(ids), **more)
    assert find_too_long(fits.data.load(), fits) == []
    tight = recipe_of(tmp_path, rows, max_completion_length=TINY_CONTEXT - len(ids) + 1, **more)
    with pytest.raises(ValueError, match=rf"row 0: {len(ids)} tokens"):
        find_too_long(tight.data.load(), tight)


@pytest.mark.parametrize(
    ("settings", "length"),
    [
        ({}, None),
        ({"max_position_embeddings": 4096}, 4096),
        ({"max_position_embeddings": 4096, "rope_parameters": {"rope_type": "default"}}, 4096),
        ({"max_position_embeddings": 32768, "rope_parameters": {"rope_type": "yarn", "factor": 4.0}}, 131072),
        (
            {
                "max_position_embeddings": 131072,
                "rope_parameters": {"factor": 8.0, "original_max_position_embeddings": 8192},
            },
            131072,
        ),
    ],
)
def test_the_context_is_that_of_the_configuration(settings: dict[str, Any], length: int | None) -> None:
    text = SimpleNamespace(**settings)
    assert context_length(SimpleNamespace(get_text_config=lambda: text)) == length


def test_columns_that_nobody_reads_do_not_travel(tmp_path: Path) -> None:
    rows = [{**row, "wide": "x" * 10_000} for row in sums(100)]
    problems = load(recipe_of(tmp_path, rows, max_completion_length=64))
    assert len(pickle.dumps(problems)) < 100 * 10_000 / 20
    assert set(problems.column_names) == {"problem", "answer", "prompt"}


def test_the_problems_of_a_shipped_recipe_are_what_they_were(tmp_path: Path) -> None:
    settings = ["--output_dir", str(tmp_path), "--use_cpu", "true", "--num_rows", "50"]
    recipe = parse_recipe(TINY, settings)
    rows = tiny_problems("train", 50, recipe.training.seed)
    problems = load(recipe)
    assert problems["problem"][:] == [row["prompt"] for row in rows]
    assert problems["answer"][:] == [row["answer"] for row in rows]
    assert problems["metadata"][:] == [row["metadata"] for row in rows]


def test_one_text_in_all_rows_is_refused_before_anything_is_judged(tmp_path: Path) -> None:
    recipe = recipe_of(tmp_path, [{"prompt": "Solve it.", "answer": str(i)} for i in range(8)])
    with pytest.raises(ValueError, match="same text in 8 of 8 rows"):
        recipe.data.load()


def test_columns_may_be_called_as_trl_calls_its_own(tmp_path: Path) -> None:
    rows = [{**row, **dict.fromkeys(OF_TRL, "the data's own")} for row in sums(8)]
    args = config(tmp_path, objective="grpo", verifier="exact", max_steps=1, max_completion_length=16)
    trainer = ConciseTrainer("tiny:base", args, to_messages(Dataset.from_list(rows)))
    trainer.train()
    row = trainer.credited.judged.rows[0]
    assert all(row[name] == "the data's own" for name in OF_TRL if name != "problem")
    assert row["problem"].endswith("+ 1?")


LOADER = """
import sys
from concise_rl.recipe.problems import load_problems
from concise_rl.recipe.parse import parse_recipe
from concise_rl.verify.pool import VerifierPool
recipe = parse_recipe(sys.argv[1], sys.argv[2:])
with VerifierPool("exact", workers=1) as pool:
    rows = load_problems(recipe, pool)
print("answers", recipe.training.process_index, rows["answer"][:])
"""


@pytest.mark.slow
def test_all_processes_train_on_the_rows_that_the_first_keeps(tmp_path: Path) -> None:
    recipe_of(tmp_path, [{**row, "answer": "" if i == 5 else row["answer"]} for i, row in enumerate(long_after(200))])
    (tmp_path / "loader.py").write_text(LOADER)
    settings = {"dataset": tmp_path / "rows.jsonl", "output_dir": tmp_path / "run", "max_completion_length": 512}
    settings |= {"num_rows": "null", "use_cpu": "true", "per_device_train_batch_size": 8}
    words = [word for key, value in settings.items() for word in (f"--{key}", str(value))]
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", "--standalone"]
    said = launch([*command, tmp_path / "loader.py", TINY, *words])
    kept = [str(i + 1) for i in range(200) if i != 5]
    assert f"answers 0 {kept}" in said and f"answers 1 {kept}" in said
    assert said.count("199 problems") == 1


def test_a_column_that_the_method_reads_comes_along(tmp_path: Path) -> None:
    rows = [row | {"ref_accuracy": 0.5, "unread": 1} for row in sums(40)]
    problems = load(recipe_of(tmp_path, rows, objective="adaptthink", objective_options={"think_text": "<think>"}))
    assert problems["ref_accuracy"][:] == [0.5] * 40 and "unread" not in problems.column_names


def test_data_without_a_column_that_the_method_reads_is_refused_with_what_the_method_needs(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"AdaptThink reads the column 'ref_accuracy', which .* has not.*accuracy on"):
        load(recipe_of(tmp_path, sums(40), objective="adaptthink"))
