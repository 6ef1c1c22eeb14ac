"""The recipe that follows from a probe."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from concise_rl.evaluate.probe.outline import Outline
from concise_rl.evaluate.probe.recipe import outline_recipe, write_recipe
from concise_rl.evaluate.probe.render import render
from concise_rl.evaluate.probe.settings import SETTINGS
from concise_rl.recipe.check import check_recipe
from tests.concise_rl.evaluate.probe.made import about, advice, groups, measured

ROOT = Path(__file__).parents[4]
TINY: dict[str, Any] = {
    "model": "tiny:base", "task": "tiny:sums", "parameters": 873_088, "context": 1024, "answer_tokens": 6,
    "prompts": {50: 20, 90: 24, 100: 24}, "quantiles": {10: 50, 50: 122, 90: 221, 99: 286}, "cap": 512,
}  # fmt: skip

QUICK = ("grpo_lambda", "s_grpo", "decs")
"""Those that are tried each time. Together the others take more than about 10 seconds."""
METHODS = [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in SETTINGS]


def outline(folder: Path, method: str = "grpo_lambda", gpus: str | None = None, **changes: Any) -> Outline:
    return outline_recipe(measured(**changes), advice(**changes), method, folder / "mine.yaml", gpus)


def settings(made: Outline) -> dict[str, Any]:
    return yaml.safe_load(render(made))


@pytest.mark.parametrize("method", METHODS)
def test_a_recipe_for_the_embedded_reasoner_passes_its_check(method: str, tmp_path: Path) -> None:
    made = outline(tmp_path, method, task="tiny:sums", **{k: v for k, v in TINY.items() if k != "task"})
    assert write_recipe(made) == f"concise-rl check {tmp_path / 'mine.yaml'}"
    assert yaml.safe_load((tmp_path / "mine.yaml").read_text())["use_cpu"] is True


@pytest.mark.parametrize("method", METHODS)
def test_a_recipe_for_a_known_model_fits_its_gpus_without_the_hub(
    method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.chdir(ROOT)
    path = tmp_path / "mine.yaml"
    assert write_recipe(outline(tmp_path, method, "8x80")) == f"concise-rl check {path} --gpus 8x80"
    check_recipe(str(path), [], "8x80")
    out = capsys.readouterr().out
    assert f"{path} is fine." in out and "DeepSpeed ZeRO-3" in out


def test_a_smaller_model_on_fewer_gpus_keeps_its_rollouts_a_step(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(ROOT)
    made = outline(tmp_path, gpus="4x80", model="deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B", parameters=1_780_000_000)
    write_recipe(made)
    text = made.path.read_text()
    assert "launch/accelerate/zero2.yaml --num_processes 4" in text
    assert yaml.safe_load(text)["gradient_accumulation_steps"] == 256


def test_three_gpus_still_have_whole_groups(tmp_path: Path) -> None:
    made = outline(tmp_path, gpus="3x80")
    assert made.device_rows * made.accumulation % made.group.value == 0
    assert made.prompts == 129


def test_nothing_is_written_of_a_recipe_that_does_not_fit(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(ROOT)
    with pytest.raises(ValueError, match="does not fit"):
        write_recipe(outline(tmp_path, gpus="1x24"))
    assert list(tmp_path.iterdir()) == []


def test_a_recipe_says_why(tmp_path: Path) -> None:
    text = render(outline(tmp_path))
    assert "max_completion_length: 7424  # 99 % of the samples end within 7,300 tokens" in text
    assert "# Expect:   stopping there would save 50.0 % of the tokens [48.0, 52.0]" in text
    assert "num_generations: 8  # 45 % of groups of 8 are mixed, and 55 % of groups of 16" in text
    assert max(map(len, text.splitlines())) <= 120


def test_the_gate_follows_the_share_of_groups_that_are_mostly_right(tmp_path: Path) -> None:
    assert settings(outline(tmp_path))["objective_options"]["gate"] == "threshold"
    hard = groups(8, 0.1, 0.6)
    seldom = type(hard)(8, hard.all_right, hard.mixed, hard.all_wrong, about(0.3))
    assert settings(outline(tmp_path, groups=[seldom]))["objective_options"]["gate"] == "top_fraction"


def test_exits_are_those_that_the_model_can_write(tmp_path: Path) -> None:
    small = settings(outline(tmp_path, "s_grpo", **TINY))["objective_options"]
    large = settings(outline(tmp_path, "s_grpo"))["objective_options"]
    assert (small["exit_text"], small["answer_max_tokens"], small["train_exit_text"]) == ("\n</think>\n", 12, False)
    assert large["exit_text"].startswith("Time is limited") and large["answer_max_tokens"] == 512


def test_how_problems_are_put_is_taken_over(tmp_path: Path) -> None:
    made = outline(tmp_path)
    more = {"prompt_template": "{prompt}\nBox it: \\boxed{}.", "answer_column": "final", "split": "test"}
    measurement = made.measured.measurement.model_copy(update=more)
    put = Outline(
        type(made.measured)(**{**vars(made.measured), "measurement": measurement}),
        made.advice,
        made.method,
        made.path,
        made.gpus,
    )
    found = settings(put)
    assert found["prompt_template"] == more["prompt_template"] and found["answer_column"] == "final"
    assert found["dataset_split"] == "test" and "prompt_column" not in found


@pytest.mark.parametrize(
    ("task", "words"),
    [
        ("tiny:sums", "--task tiny:sums --problems 256"),
        ("org/problems", "--task HuggingFaceH4/MATH-500 --prompt-column problem"),
    ],
)
def test_it_is_evaluated_on_other_problems_than_it_trains_on(task: str, words: str, tmp_path: Path) -> None:
    assert f"concise-rl eval {words} --engine vllm" in render(outline(tmp_path, task=task))


def test_a_recipe_says_what_speaks_against_training(tmp_path: Path) -> None:
    assert "Not worth training" in render(outline(tmp_path, saved=about(0.02), redundant=about(0.03)))


def test_an_unknown_method_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Did you mean 'grpo_lambda'"):
        outline(tmp_path, "grpo_lamda")


def test_a_method_without_such_a_recipe_says_where_to_begin(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="No recipe can be written for thinkprune"):
        outline(tmp_path, "thinkprune")


def test_a_model_of_unknown_sizes_is_said_to_be_one(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="The sizes of nobody/nothing are not known"):
        write_recipe(outline(tmp_path, model="nobody/nothing", gpus="8x80"))
