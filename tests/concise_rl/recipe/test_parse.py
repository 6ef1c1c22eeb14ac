"""Recipes: every one of the repository loads; what is wrong with one is said."""

from pathlib import Path
from typing import Any

import pytest
from trl import get_peft_config

from concise_rl.recipe.check import check_recipe
from concise_rl.recipe.parse import keys_help, own_keys, parse_overrides, parse_recipe, read_recipe
from tests.concise_rl.recipe.stored import stored_samples, write_samples

ROOT = Path(__file__).parents[3]
RECIPES = sorted((ROOT / "recipes").rglob("*.yaml"))
TINY = ROOT / "recipes/tiny/grpo_lambda.yaml"


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", RECIPES, ids=name_of)
def test_every_recipe_passes_its_check(path: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(ROOT)
    given = read_recipe(path)
    # A recipe that goes on from another has that one's output folder for a model.
    goes_on = str(given["model_name_or_path"]).startswith("runs/")
    overrides = ["--model_name_or_path", "tiny:base"] if goes_on else []
    # One that learns from the samples of an evaluation names them.
    selection, is_selected, _ = str(given["dataset"]).partition("?samples=")
    if is_selected:
        samples = write_samples(tmp_path / "base.jsonl", stored_samples(problems=128))
        overrides += ["--dataset", f"{selection}?samples={samples}"]
    check_recipe(str(path), [*overrides, "--num_rows", "null" if is_selected else "128"])
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


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ('["q_proj"]', {"q_proj"}),
        ("[q_proj, v_proj]", {"q_proj", "v_proj"}),
        ("q_proj", {"q_proj"}),
        ("all-linear", "all-linear"),
        (r".*\.(q|v)_proj", r".*\.(q|v)_proj"),
    ],
)
def test_modules_of_adapters_reach_peft_as_names_or_as_a_pattern(given: str, expected: Any) -> None:
    model = parse_recipe(TINY, ["--use_peft", "true", "--lora_target_modules", given]).model
    adapters: Any = get_peft_config(model)
    assert adapters.target_modules == expected


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


def test_an_unknown_key_is_looked_for_where_it_was_given(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(TINY.read_text() + "sed: 1\n")
    with pytest.raises(ValueError, match="key on the command line: 'learning_rat'"):
        parse_recipe(TINY, ["--learning_rat", "1"])
    with pytest.raises(ValueError, match=r"key in .*mine\.yaml: 'sed'"):
        parse_recipe(tmp_path / "mine.yaml")


def test_an_unknown_key_like_no_other_lists_the_keys_of_this_project_first() -> None:
    with pytest.raises(ValueError, match=r"Valid: dataset, .*objective, .*sync_error and \d+ more"):
        parse_recipe(TINY, ["--lr", "1"])


def test_reward_functions_are_refused_with_what_there_is_in_their_place() -> None:
    with pytest.raises(ValueError, match="Rewards come from `verifier` and `objective`"):
        parse_recipe(TINY, ["--reward_funcs", "[mine]"])


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [("resume_from_checkpoint", "true", "by itself"), ("eval_strategy", "steps", "concise-rl eval")],
)
def test_a_key_that_a_recipe_cannot_use_is_refused(key: str, value: str, message: str) -> None:
    with pytest.raises(ValueError, match=f"{key}: .*{message}"):
        parse_recipe(TINY, [f"--{key}", value])
    parse_recipe(TINY, [f"--{key}", "null" if key == "resume_from_checkpoint" else "no"])


def test_options_of_another_method_are_left_out_and_that_is_said(capsys) -> None:
    recipe = parse_recipe(TINY, ["--objective", "length_penalty", "--objective_options.alpha", "0.1"])
    assert recipe.training.objective_options == {"alpha": 0.1}
    assert "Left out" in (out := capsys.readouterr().out) and "objective_options" in out


def test_naming_the_recipes_own_method_keeps_its_options() -> None:
    assert parse_recipe(TINY, ["--objective", "grpo_lambda"]).training.objective_options["gate"] == "threshold"


def test_every_key_of_this_project_is_in_the_help() -> None:
    shown = keys_help()
    assert all(f"  {f.name} (" in shown and f.metadata["help"] in shown for f in own_keys())
    assert "learning_rate" not in shown and "GRPOConfig" in shown


def test_an_unknown_stage_is_refused() -> None:
    with pytest.raises(ValueError, match="Unknown stage 'ppo'"):
        parse_recipe(TINY, ["--stage", "ppo"])


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
        (["--objective", "no_such_module.Mine"], "no module 'no_such_module' for the objective .* working directory"),
        (["--judge", "no_such_module.Mine"], "no module 'no_such_module' for the judge"),
        (["--curriculum", "no_such_module.Mine"], "no module 'no_such_module' for the curriculum"),
        (["--max_steps", "abc"], "max_steps: 'abc'"),
        (["--max_completion_length", "-5"], "max_completion_length is at least 1, not -5"),
        (["--per_device_train_batch_size", "0"], "per_device_train_batch_size is at least 1, not 0"),
        (["--num_generations", "0"], "num_generations is at least 1, not 0"),
        (["--loss_type", "dappo"], "Unknown loss_type 'dappo'. Did you mean 'dapo'"),
        (["--objective_options", "5"], "objective_options: 5 is not a mapping"),
        (["--reward_weights", "[1.0]"], "reward_weights would only change the reward that is logged"),
        (["--prompt_template", "Solve it."], "has no {prompt}"),
    ],
)
def test_what_would_fail_in_training_fails_in_the_check(override: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_recipe(str(TINY), override)


@pytest.mark.parametrize("text", ["a: [1\nb: 2\n", "a: 1\n b: 2\n"])
def test_broken_yaml_is_named_by_file_and_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "broken.yaml").write_text(text)
    with pytest.raises(ValueError, match=r"broken\.yaml, line 2, column \d+: not YAML") as stopped:
        parse_recipe(tmp_path / "broken.yaml")
    assert "\n" not in str(stopped.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"seed: 1\nmax_steps: 2\nseed: 3\n", "line 3, column 1: not YAML (seed stands twice)."),
        (b"objective_options: {alpha: 1, alpha: 2}\n", "line 1, column 31: not YAML (alpha stands twice)."),
        (b"seed: 1\nrun_name: caf\xe9\n", "line 2: not UTF-8. Save it as UTF-8."),
    ],
)
def test_nothing_that_a_recipe_says_is_dropped_without_a_word(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "mine.yaml").write_bytes(content)
    with pytest.raises(ValueError) as stopped:
        read_recipe(tmp_path / "mine.yaml")
    assert str(stopped.value) == f"{tmp_path / 'mine.yaml'}, {said}"


def test_a_recipe_that_begins_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_bytes(b"\xef\xbb\xbfseed: 1\r\nmax_steps: 2\r\n")
    assert read_recipe(tmp_path / "mine.yaml") == {"seed": 1, "max_steps": 2}


def test_a_folder_is_no_recipe(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is a folder: give a recipe in it"):
        read_recipe(tmp_path)


def test_broken_yaml_on_the_command_line_is_named_by_its_key() -> None:
    with pytest.raises(ValueError, match=r"--objective_options \{alpha, line 1.*not YAML"):
        parse_overrides(["--objective_options", "{alpha"])


def test_an_option_of_a_key_that_has_a_value_is_refused() -> None:
    with pytest.raises(ValueError, match=r"--seed\.x: seed was given before, as 1"):
        parse_overrides(["--seed", "1", "--seed.x", "2"])


def test_data_given_for_a_recipe_are_refused(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"prompt": "1 + 1?", "answer": "2"}\n')
    with pytest.raises(ValueError, match="is not a recipe but data"):
        parse_recipe(tmp_path / "rows.jsonl")


def test_yaml_that_is_not_a_mapping_is_refused(tmp_path: Path) -> None:
    (tmp_path / "list.yaml").write_text("- a\n")
    with pytest.raises(ValueError, match="must be a YAML mapping"):
        parse_recipe(tmp_path / "list.yaml")
