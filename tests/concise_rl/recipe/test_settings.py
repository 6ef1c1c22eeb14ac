"""Each setting has one meaning here, and numbers have bounds."""

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest
from trl import DPOConfig, GRPOConfig, ModelConfig, SFTConfig

from concise_rl.recipe.bounds import BOUNDS, Range
from concise_rl.recipe.config import ConciseConfig
from concise_rl.recipe.parse import parse_recipe
from concise_rl.recipe.settings import (
    BESIDE,
    BESIDE_OF_DPO,
    DPO,
    MODEL,
    RL,
    SFT,
    Keys,
    defaults_of,
    is_default,
    refusal,
)

ROOT = Path(__file__).parents[3]
TINY, TINY_SFT = ROOT / "recipes/tiny/grpo_lambda.yaml", ROOT / "recipes/tiny/sft.yaml"


def other_than(default: Any) -> Any:
    """A value that is not a field's default."""
    return not default if isinstance(default, bool) else "something else"


@pytest.mark.parametrize(("keys", "cls"), [(RL, GRPOConfig), (SFT, SFTConfig), (DPO, DPOConfig), (MODEL, ModelConfig)])
def test_every_field_has_one_meaning(keys: Keys, cls: type) -> None:
    classes = [keys.as_trl, keys.ours, keys.refused.keys(), keys.without_data - keys.as_trl]
    named = [name for names in classes for name in names]
    fields = {f.name for f in dataclasses.fields(cls)}
    assert not fields - set(named), (
        f"new keys of {cls.__name__}: decide in concise_rl/recipe/settings.py what they mean here"
    )
    assert not set(named) - fields, f"{cls.__name__} has dropped these: take them out of concise_rl/recipe/settings.py"
    assert len(named) == len(set(named)), "a key has two meanings"


def test_every_default_of_ours_is_listed() -> None:
    trl, ours = defaults_of(GRPOConfig), defaults_of(ConciseConfig)
    assert {name for name in trl if trl[name] != ours[name]} <= RL.ours


@pytest.mark.parametrize(
    ("keys", "cls"), [(RL, ConciseConfig), (SFT, SFTConfig), (DPO, DPOConfig), (MODEL, ModelConfig)]
)
def test_a_refused_key_is_refused_in_one_line_unless_it_has_its_default(keys: Keys, cls: type) -> None:
    defaults = defaults_of(cls)
    assert refusal(keys, defaults, defaults, in_recipe=True) is None
    for key in {*keys.refused, *keys.without_data}:
        said = refusal(keys, {key: other_than(defaults[key])}, defaults, in_recipe=True)
        assert said and said.startswith(f"{key}: ") and "\n" not in said


def test_evaluation_is_only_refused_in_a_recipe() -> None:
    assert refusal(RL, {"eval_strategy": "steps"}, defaults_of(ConciseConfig)) is None


def test_what_is_read_beside_another_key_exists() -> None:
    assert {name for beside in BESIDE for name in beside.names} <= RL.as_trl | RL.ours
    assert {name for beside in BESIDE_OF_DPO for name in beside.names} <= DPO.as_trl


@pytest.mark.parametrize(
    ("value", "default"), [(None, False), (False, "no"), ([], None), (False, None), ("no", "no"), (1, 1)]
)
def test_a_setting_that_is_left_out_has_its_default(value: Any, default: Any) -> None:
    assert is_default(value, default)


@pytest.mark.parametrize(("value", "default"), [(0, None), (False, True), (0.0, 1.0), ("steps", "no"), (["a"], None)])
def test_a_setting_that_is_given_has_not(value: Any, default: Any) -> None:
    assert not is_default(value, default)


def test_every_default_is_within_its_bounds() -> None:
    for cls in (ConciseConfig, SFTConfig, DPOConfig, ModelConfig):
        for key, value in defaults_of(cls).items():
            if key in BOUNDS and value is not None:
                assert BOUNDS[key].holds(value), key


@pytest.mark.parametrize(
    ("bound", "inside", "outside", "said"),
    [
        (Range(0, 1, above=True), [1e-9, 1], [0, 1.1, float("nan")], "above 0 and at most 1"),
        (Range(0, 1, below=True), [0, 0.99], [-1, 1, float("nan")], "at least 0 and below 1"),
        (Range(0, above=True), [1e300], [0, float("inf"), float("nan")], "above 0 and finite"),
        (Range(1, float("inf")), [1, float("inf")], [0, float("nan")], "at least 1"),
    ],
)
def test_a_range_holds_what_it_says(bound: Range, inside: list[float], outside: list[float], said: str) -> None:
    assert all(map(bound.holds, inside)) and not any(map(bound.holds, outside))
    assert str(bound) == said


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--temperature 0", "temperature is above 0"),
        ("--top_p 1.5", "top_p is above 0 and at most 1, not 1.5"),
        ("--top_p 0", "top_p is above 0"),
        ("--top_k -1", "top_k is at least 0"),
        ("--top_k 1", "top_k 1 is greedy"),
        ("--min_p 1", "min_p is at least 0 and below 1"),
        ("--repetition_penalty 0", "repetition_penalty is above 0"),
        ("--num_generations 1", "at least 2"),
        ("--learning_rate .nan", "learning_rate is at least 0 and finite, not nan"),
        ("--learning_rate -1e-6", "learning_rate is at least 0"),
        ("--epsilon -0.1", "epsilon is at least 0"),
        ("--delta 1.0", "delta is above 1"),
        ("--beta .inf", "beta is at least 0 and finite"),
        ("--warmup_steps -1", "warmup_steps is at least 0"),
        ("--max_steps 0", "max_steps is at least 1, or -1"),
        ("--max_steps -2", "max_steps is at least 1, or -1"),
        ("--num_train_epochs 0", "num_train_epochs is above 0"),
        ("--logging_steps 0", "logging_steps is above 0"),
        ("--save_steps -5", "save_steps is above 0"),
        ("--vllm_mode servr --use_vllm true", "Unknown vllm_mode 'servr'. Did you mean 'server'"),
        ("--vllm_importance_sampling_mode token --use_vllm true", "Unknown vllm_importance_sampling_mode"),
        ("--importance_sampling_level tokens", "Did you mean 'token'"),
        ("--dtype bf16", "Unknown dtype 'bf16'"),
        ("--lora_r 0 --use_peft true", "lora_r is at least 1"),
        ("--remove_unused_columns true", "remove_unused_columns: the verifier reads"),
        ("--train_sampling_strategy sequential", "train_sampling_strategy: rows come in the order of groups"),
        ("--multi_objective_aggregation normalize_then_sum", "multi_objective_aggregation: there is one reward"),
        ("--save_only_model true", "save_only_model: a run could not go on"),
        ("--save_strategy best", "save_strategy: best follows an evaluation"),
        ("--lr_scheduler_type reduce_lr_on_plateau", "lr_scheduler_type: reduce_lr_on_plateau follows"),
        ("--per_device_eval_batch_size 4", "per_device_eval_batch_size: a recipe has no data to evaluate on"),
        ("--lora_r 8", "lora_r: nothing reads it without use_peft"),
        ("--vllm_mode server", "vllm_mode: nothing reads it without use_vllm"),
    ],
)
def test_a_recipe_says_what_is_wrong_with_a_value(words: str, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)) as stopped:
        parse_recipe(TINY, words.split())
    assert "\n" not in str(stopped.value)


@pytest.mark.parametrize("words", ["--vllm_mode server --use_vllm false", "--lora_r 8 --use_peft false"])
def test_what_was_turned_off_may_stay(words: str) -> None:
    parse_recipe(TINY, words.split())


def test_a_recipe_for_supervised_tuning_orders_its_rows_and_keeps_its_optimizer() -> None:
    assert parse_recipe(TINY_SFT).training.train_sampling_strategy == "sequential"
    with pytest.raises(ValueError, match="save_only_model"):
        parse_recipe(TINY_SFT, ["--save_only_model", "true"])
    with pytest.raises(ValueError, match="learning_rate is at least 0"):
        parse_recipe(TINY_SFT, ["--learning_rate", "-1"])
