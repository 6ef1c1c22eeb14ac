"""What the check of a recipe tries, and what it says."""

import json
from pathlib import Path

import pytest
import torch

from concise_rl.recipe.check import check_recipe

ROOT = Path(__file__).parents[3]
TINY = str(ROOT / "recipes/tiny/grpo_lambda.yaml")
GPU = str(ROOT / "recipes/qwen3-8b/grpo_lambda.yaml")


def rows(path: Path, answers: list[str]) -> str:
    rows = [{"prompt": f"1 + {i}?", "answer": answer} for i, answer in enumerate(answers)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def check(dataset: str) -> None:
    check_recipe(TINY, ["--dataset", dataset, "--num_rows", "null", "--verifier", "exact"])


def test_the_verifier_is_tried_on_the_first_rows(capsys) -> None:
    check_recipe(TINY, ["--num_rows", "100"])
    assert "reasoning_gym: accepts the own answers of 64 of 64 rows" in capsys.readouterr().out


def test_a_verifier_that_refuses_the_data_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="does not accept the own answers of 10 of 64 rows"):
        check(rows(tmp_path / "rows.jsonl", [""] * 10 + ["2"] * 90))


def test_a_bad_row_among_the_first_of_many_is_only_counted(tmp_path: Path, capsys) -> None:
    check(rows(tmp_path / "rows.jsonl", [""] + ["2"] * 99))
    assert "accepts the own answers of 63 of 64 rows" in capsys.readouterr().out


def test_a_bad_row_is_an_error_where_there_are_no_others(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="does not accept the own answers of 1 of 9 rows"):
        check(rows(tmp_path / "rows.jsonl", [""] + ["2"] * 8))


@pytest.mark.skipif(torch.accelerator.is_available(), reason="of a machine without a GPU")
def test_a_recipe_for_a_gpu_is_checked_without_one_as_far_as_that_goes(capsys) -> None:
    check_recipe(GPU, ["--attn_implementation", "sdpa"])
    out = capsys.readouterr().out
    assert "There is no GPU here" in out and "is fine" in out


def test_a_recipe_for_a_cpu_says_nothing_of_gpus(capsys) -> None:
    check_recipe(TINY, ["--num_rows", "16"])
    assert "GPU" not in capsys.readouterr().out
