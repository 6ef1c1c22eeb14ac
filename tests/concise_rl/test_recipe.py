"""Recipes: every one of the repository loads; what is wrong with one is said."""

from pathlib import Path

import pytest

from concise_rl.check import check_recipe
from concise_rl.recipe import parse_overrides, parse_recipe, read_recipe

ROOT = Path(__file__).parents[2]
RECIPES = sorted((ROOT / "recipes").rglob("*.yaml"))
TINY = ROOT / "recipes/tiny/grpo_lambda.yaml"


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", RECIPES, ids=name_of)
def test_every_recipe_passes_its_check(path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(ROOT)
    # A recipe for GPUs has to parse on a machine without one.
    overrides = [] if "tiny" in path.parts else ["--bf16", "false", "--use_cpu", "true"]
    # A recipe that goes on from another has that one's output folder for a model.
    if str(read_recipe(path)["model_name_or_path"]).startswith("runs/"):
        overrides += ["--model_name_or_path", "tiny:base"]
    check_recipe(str(path), [*overrides, "--num_rows", "8"])
    assert "is fine" in capsys.readouterr().out


@pytest.mark.parametrize("path", RECIPES, ids=name_of)
def test_every_recipe_opens_with_what_it_is_and_what_to_expect(path: Path) -> None:
    head = path.read_text()
    for line in ("# What: ", "# Hardware: ", "# Command: ", "# Expect: "):
        assert line in head
    assert str(path.relative_to(ROOT)) in head.split("\n# Expect:")[0], "the command names the recipe itself"


@pytest.mark.parametrize("path", RECIPES, ids=name_of)
def test_every_recipe_samples_from_the_full_distribution(path: Path) -> None:
    training = parse_recipe(path, ["--bf16", "false", "--use_cpu", "true"]).training
    assert (getattr(training, "top_p", 1.0), getattr(training, "top_k", 0)) == (1.0, 0)
    assert not getattr(training, "min_p", None)


def test_the_command_line_lies_over_the_recipe() -> None:
    recipe = parse_recipe(TINY, ["--learning_rate", "1e-6", "--objective_options.alpha", "0.25", "--seed=7"])
    assert recipe.training.learning_rate == 1e-6
    assert recipe.training.objective_options["alpha"] == 0.25
    assert recipe.training.objective_options["gate"] == "threshold"
    assert recipe.training.seed == 7


def test_overrides_nest_by_dots_and_read_values_as_yaml() -> None:
    overrides = parse_overrides(["--a.b", "2", "--a.c=x", "--flag", "--none", "null"])
    assert overrides == {"a": {"b": 2, "c": "x"}, "flag": True, "none": None}


def test_how_the_model_is_loaded_reaches_the_trainer() -> None:
    training = parse_recipe(TINY, ["--dtype", "bfloat16", "--attn_implementation", "eager"]).training
    assert training.model_init_kwargs["dtype"] == "bfloat16"
    assert training.model_init_kwargs["attn_implementation"] == "eager"


def test_the_word_no_stays_a_word() -> None:
    assert parse_overrides(["--save_strategy", "no", "--bf16", "false"]) == {"save_strategy": "no", "bf16": False}


def test_a_negative_number_is_a_value() -> None:
    assert parse_overrides(["--seed", "-1"]) == {"seed": -1}


def test_a_word_without_a_key_is_refused() -> None:
    with pytest.raises(ValueError, match="--key value, found 'seed'"):
        parse_overrides(["seed", "7"])


def test_a_recipe_that_is_not_there_is_an_error_with_the_nearest_one(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"Did you mean .*grpo_lambda\.yaml"):
        parse_recipe(TINY.with_name("grpo_lamda.yaml"))


def test_an_unknown_key_names_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"'learning_rat'. Did you mean 'learning_rate'"):
        parse_recipe(TINY, ["--learning_rat", "1"])


def test_an_unknown_stage_is_refused() -> None:
    with pytest.raises(ValueError, match="Unknown stage 'dpo'"):
        parse_recipe(TINY, ["--stage", "dpo"])


@pytest.mark.parametrize("key", ["dataset", "model_name_or_path", "output_dir"])
def test_a_missing_setting_is_named(tmp_path: Path, key: str) -> None:
    with pytest.raises(ValueError, match=f"which {key} to use"):
        parse_recipe(TINY, [f"--{key}", "null"])


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (["--objective", "grpo_lamda"], "Did you mean 'grpo_lambda'"),
        (["--objective_options.alfa", "1"], "Did you mean 'alpha'"),
        (["--objective_options.alpha", "1.5"], "less than or equal to 1, got 1.5"),
        (["--verifier", "maths"], "Did you mean 'math'"),
        (["--model_name_or_path", "./nowhere"], "No model at './nowhere'"),
        (["--dataset", "nowhere.jsonl"], "nowhere.jsonl"),
        (["--dataset", "reasoning_gym:chain_som"], "Did you mean 'chain_sum'"),
    ],
)
def test_what_would_fail_in_training_fails_in_the_check(override: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_recipe(str(TINY), override)


def test_yaml_that_is_not_a_mapping_is_refused(tmp_path: Path) -> None:
    (tmp_path / "list.yaml").write_text("- a\n")
    with pytest.raises(ValueError, match="must be a YAML mapping"):
        parse_recipe(tmp_path / "list.yaml")
