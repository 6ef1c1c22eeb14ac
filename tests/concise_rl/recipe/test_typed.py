"""Values against the types of their fields."""

import dataclasses
import json
from typing import Any, get_args, get_origin, get_type_hints

import pytest
from trl import ModelConfig, SFTConfig

from concise_rl.recipe.config import ConciseConfig
from concise_rl.recipe.parse import DataConfig
from concise_rl.recipe.typed import names_or_pattern, typed

CLASSES = (DataConfig, ConciseConfig, ModelConfig)


def default_of(field: dataclasses.Field) -> Any:
    return field.default if field.default_factory is dataclasses.MISSING else field.default_factory()


@pytest.mark.parametrize("cls", [DataConfig, ConciseConfig, SFTConfig, ModelConfig])
def test_the_default_of_every_field_is_of_its_type(cls: type) -> None:
    defaults = {f.name: default_of(f) for f in dataclasses.fields(cls) if f.init and f.name != "dataset"}
    assert typed(defaults, (cls,)) == defaults


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("max_steps", "abc", "max_steps: 'abc' is not a whole number"),
        ("max_steps", 5.5, "max_steps: 5.5 is not a whole number"),
        ("max_steps", True, "max_steps: true is not a whole number"),
        ("seed", None, "seed: null is not a whole number"),
        ("learning_rate", "abc", "learning_rate: 'abc' is not a number"),
        ("bf16", "maybe", "bf16: 'maybe' is not true or false or null"),
        ("use_peft", "fals", "use_peft: 'fals' is not true or false"),
        ("num_rows", "all", "num_rows: 'all' is not a whole number or null"),
        ("dataset", ["a"], r"dataset: \['a'\] is not text"),
        ("save_strategy", False, "save_strategy: false is not one of no, .*only in quotes"),
        ("save_strategy", "never", "save_strategy: 'never' is not one of no, steps, epoch, best"),
        ("objective_options", 5, "objective_options: 5 is not a mapping"),
        ("objective_options", '{"alpha"', "objective_options: .* is not a mapping, nor the JSON of one"),
        ("lora_target_modules", 5, "lora_target_modules: 5 is not a list or null"),
    ],
)
def test_a_value_of_another_type_is_refused_by_key_and_value(key: str, value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        typed({key: value}, CLASSES)


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("learning_rate", "1e-5", 1e-5),
        ("max_steps", "5", 5),
        ("use_peft", "false", False),
        ("save_steps", 40, 40),
        ("run_name", 7, "7"),
        ("report_to", "wandb", "wandb"),
        ("report_to", ["wandb", "tensorboard"], ["wandb", "tensorboard"]),
        ("scale_rewards", False, False),
        ("lr_scheduler_type", "constant", "constant"),
        ("lora_target_modules", "all-linear", ["all-linear"]),
        ("objective_options", '{"alpha": 0.5}', {"alpha": 0.5}),
        ("deepspeed", "zero3.json", "zero3.json"),
    ],
)
def test_what_the_configurations_understand_is_taken(key: str, value: Any, expected: Any) -> None:
    found = typed({key: value}, CLASSES)[key]
    assert found == expected and type(found) is type(expected)


def keys_of_lists() -> list[tuple[type, str]]:
    """The keys of all classes that take a list."""
    return [
        (cls, name)
        for cls in (ConciseConfig, SFTConfig, ModelConfig)
        for name, annotation in get_type_hints(cls).items()
        if name in {f.name for f in dataclasses.fields(cls)}
        and any((get_origin(member) or member) is list for member in (annotation, *get_args(annotation)))
    ]


@pytest.mark.parametrize(("cls", "key"), keys_of_lists())
def test_every_list_may_be_a_list_or_the_text_of_one(cls: type, key: str) -> None:
    expected: list = {"debug": ["underflow_overflow"], "reward_weights": [0.5, 1.0]}.get(key, ["a", "b"])
    assert typed({key: expected}, (cls,)) == {key: expected}
    assert typed({key: json.dumps(expected)}, (cls,)) == {key: expected}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("q_proj", ["q_proj"]),
        ("q_proj, v_proj", ["q_proj", "v_proj"]),
        ("model.layers.0.self_attn.q_proj", ["model.layers.0.self_attn.q_proj"]),
        (["q_proj"], ["q_proj"]),
        ("all-linear", "all-linear"),
        (r".*\.(q|v)_proj", r".*\.(q|v)_proj"),
        (r"[a-z.0-9]*{1,2}_proj", r"[a-z.0-9]*{1,2}_proj"),
        (None, None),
    ],
)
def test_names_of_modules_are_told_from_patterns(given: Any, expected: Any) -> None:
    assert names_or_pattern(given) == expected


@pytest.mark.parametrize("text", ["[a-z]+_proj", "[^x]*[q"])
def test_a_pattern_that_begins_with_a_bracket_is_no_list(text: str) -> None:
    assert typed({"lora_target_modules": text}, CLASSES) == {"lora_target_modules": [text]}


@pytest.mark.parametrize("value", [True, "full_shard"])
def test_fsdp_is_turned_on_by_true_or_by_its_old_text(value: Any) -> None:
    assert typed({"fsdp": value}, CLASSES) == {"fsdp": value}
