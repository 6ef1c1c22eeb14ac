"""Rows of supervised stages: sampled completions are trained on token by token."""

from pathlib import Path

import pytest
import yaml

from concise_rl.recipe.check import check_recipe
from concise_rl.recipe.demonstrations import load_demonstrations, load_preferences
from concise_rl.recipe.parse import Recipe, parse_recipe
from tests.concise_rl.recipe.stored import stored_samples, write_samples


def recipe_file(folder: Path, **settings: object) -> str:
    """A recipe of `stage: dpo` on stored samples unless told otherwise."""
    samples = write_samples(folder / "base.jsonl", stored_samples())
    given = {"stage": "dpo", "dataset": f"selected:adar1?samples={samples}", "model_name_or_path": "tiny:base"}
    cpu = {"output_dir": str(folder / "run"), "use_cpu": True, "bf16": False}
    (folder / "recipe.yaml").write_text(yaml.safe_dump({**given, **cpu, **settings}))
    return str(folder / "recipe.yaml")


def recipe_of(folder: Path, **settings: object) -> Recipe:
    return parse_recipe(recipe_file(folder, **settings))


def shortest(folder: Path) -> dict[str, object]:
    return {"stage": "sft", "dataset": f"selected:shortest_right?samples={folder / 'base.jsonl'}"}


def test_a_sampled_demonstration_is_its_own_tokens_behind_its_prompt(tmp_path: Path) -> None:
    rows = load_demonstrations(recipe_of(tmp_path, **shortest(tmp_path)))
    for row, sample in zip(rows, stored_samples()[::3], strict=True):
        answer = sample["completion_ids"]
        assert row["input_ids"][-len(answer) :] == answer and row["labels"][-len(answer) :] == answer
        assert set(row["labels"][: -len(answer)]) == {-100}


def test_the_prompt_is_learnt_too_where_the_recipe_says_so(tmp_path: Path) -> None:
    rows = load_demonstrations(recipe_of(tmp_path, completion_only_loss=False, **shortest(tmp_path)))
    assert rows[0]["labels"] == rows[0]["input_ids"]


def test_a_sampled_preference_is_three_times_tokens(tmp_path: Path) -> None:
    rows, samples = load_preferences(recipe_of(tmp_path)), stored_samples()
    assert set(rows.column_names) == {"prompt_ids", "chosen_ids", "rejected_ids"}
    assert rows[0]["chosen_ids"] in [one["completion_ids"] for one in samples if one["correct"]]


def test_written_preferences_are_conversations(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"prompt": "1 + 1", "answer": "2", "rejected": "3"}\n')
    rows = load_preferences(recipe_of(tmp_path, dataset=str(tmp_path / "rows.jsonl")))
    assert rows[0]["rejected"] == [{"role": "assistant", "content": "3"}]


def test_rows_without_a_rejected_answer_are_refused_for_preferences(tmp_path: Path) -> None:
    recipe = recipe_of(tmp_path, dataset="tiny:traces", num_rows=4)
    with pytest.raises(ValueError, match="tiny:traces has no column 'rejected'"):
        load_preferences(recipe)


def test_a_prompt_that_is_written_otherwise_than_in_the_evaluation_is_refused(tmp_path: Path) -> None:
    recipe = recipe_of(tmp_path, prompt_template="1 + {prompt}", **shortest(tmp_path))
    with pytest.raises(ValueError, match="4 of 4 prompts are written in other tokens than in the evaluation"):
        load_demonstrations(recipe)


def test_a_chat_template_of_ones_own_is_refused_for_sampled_rows(tmp_path: Path) -> None:
    recipe = recipe_of(tmp_path, chat_template_path="somewhere", **shortest(tmp_path))
    with pytest.raises(ValueError, match="chat_template_path: the rows are tokens that a model sampled"):
        load_demonstrations(recipe)


def test_a_check_looks_at_the_prompts_of_sampled_rows(tmp_path: Path, capsys) -> None:
    path = recipe_file(tmp_path)
    check_recipe(path, [])
    assert f"{path} is fine." in capsys.readouterr().out
    with pytest.raises(ValueError, match="written in other tokens"):
        check_recipe(path, ["--prompt_template", "1 + {prompt}"])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--loss_type", "[sigmod]"], "Did you mean 'sigmoid'"),
        (["--discopop_tau", "0.1"], "discopop_tau: nothing reads it but loss_type discopop"),
        (["--loss_weights", "[1.0]"], "loss_weights: nothing reads it but more than one loss_type"),
    ],
)
def test_a_check_finds_settings_that_preferences_cannot_have(tmp_path: Path, words: list[str], said: str) -> None:
    with pytest.raises(ValueError) as stopped:
        check_recipe(recipe_file(tmp_path), words)
    assert said in str(stopped.value)
