"""Which weights an optimizer may be given."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from accelerate.utils import FullyShardedDataParallelPlugin
from peft import LoraConfig, get_peft_model
from torch import nn
from transformers import AutoModelForCausalLM, LlamaConfig

from concise_rl import ConciseTrainer, load_rows, to_messages
from concise_rl.models.resolve import resolve_model
from concise_rl.recipe.config import ConciseConfig
from concise_rl.recipe.precision import (
    Strategy,
    check_dtype,
    check_weights,
    demand_shards,
    keeps_float32,
    loaded_dtype,
    refuse_half_weights,
    strategy_of,
    sum_in_float32,
)
from concise_rl.train.__main__ import main

TINY = Path(__file__).parents[3] / "recipes/tiny/grpo_lambda.yaml"
HALVES = [torch.bfloat16, torch.float16]


def config(**settings: Any) -> ConciseConfig:
    return ConciseConfig(output_dir="unused", use_cpu=True, report_to="none", **{"bf16": False, **settings})


def load(dtype: str) -> Any:
    return AutoModelForCausalLM.from_pretrained(resolve_model("tiny:base"), dtype=dtype)


def test_a_small_update_of_a_16_bit_weight_vanishes() -> None:
    for dtype, still in ((torch.bfloat16, True), (torch.float32, False)):
        weight = nn.Parameter(torch.full((1,), 0.02, dtype=dtype))
        optimizer = torch.optim.AdamW([weight], lr=1e-6, weight_decay=0.0)
        for _ in range(20):
            weight.grad = torch.ones_like(weight)
            optimizer.step()
        assert (weight.item() == torch.tensor(0.02, dtype=dtype).item()) == still


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("strategy", ["single", "ddp"])
def test_16_bit_weights_are_refused_where_nothing_keeps_them_in_float32(dtype: torch.dtype, strategy: Strategy) -> None:
    with pytest.raises(ValueError, match="Set dtype: float32") as stopped:
        refuse_half_weights(dtype, strategy, mixed_precision=True, adapters=False)
    assert "\n" not in str(stopped.value)
    refuse_half_weights(dtype, strategy, mixed_precision=True, adapters=True)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_wide_weights_are_taken(dtype: torch.dtype) -> None:
    refuse_half_weights(dtype, "single", mixed_precision=False, adapters=False)


def test_deepspeed_keeps_float32_and_fsdp_with_mixed_precision() -> None:
    assert keeps_float32("deepspeed", False) and keeps_float32("fsdp", True)
    assert not keeps_float32("fsdp", False) and not keeps_float32("ddp", True)


@pytest.mark.parametrize(
    ("kwargs", "stored", "expected"),
    [
        ({}, "bfloat16", torch.float32),
        ({"dtype": "bfloat16"}, "float32", torch.bfloat16),
        ({"dtype": torch.float16}, "float32", torch.float16),
        ({"dtype": "auto"}, "bfloat16", torch.bfloat16),
        ({"dtype": "auto"}, "float32", torch.float32),
        ({"dtype": None}, "bfloat16", torch.bfloat16),
    ],
)
def test_the_precision_that_a_model_is_loaded_in_is_known_before(kwargs: dict, stored: str, expected: Any) -> None:
    assert loaded_dtype(kwargs, LlamaConfig(dtype=stored)) == expected


def test_auto_is_not_known_without_the_model() -> None:
    assert loaded_dtype({"dtype": "auto"}, None) is None
    check_dtype(config(model_init_kwargs={"dtype": "auto"}), adapters=False)


def test_a_configuration_is_refused_before_the_model_is_loaded() -> None:
    with pytest.raises(ValueError, match="dtype bfloat16: all weights"):
        check_dtype(config(model_init_kwargs={"dtype": "bfloat16"}), adapters=False)


def test_how_a_run_was_launched_is_seen(monkeypatch) -> None:
    assert strategy_of(config()) == "single"
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    assert strategy_of(config()) == "fsdp"


def test_fsdp_on_cpus_is_refused_where_accelerate_would_pass_over_it(tmp_path: Path, monkeypatch) -> None:
    demand_shards(SimpleNamespace(args=config(), is_fsdp_enabled=False))
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    demand_shards(SimpleNamespace(args=config(), is_fsdp_enabled=True))
    with pytest.raises(ValueError, match="FSDP shards models on GPUs alone"):
        args = ConciseConfig(output_dir=str(tmp_path), use_cpu=True, bf16=False, report_to="none", verifier="exact")
        ConciseTrainer("tiny:base", args, to_messages(load_rows("tiny:sums", num_rows=8)))


def trainer_with(model: Any, **settings: Any) -> Any:
    return SimpleNamespace(model=model, args=config(**settings))


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_a_model_that_python_has_loaded_is_looked_at(dtype: str) -> None:
    with pytest.raises(ValueError, match=f"dtype {dtype}"):
        check_weights(trainer_with(load(dtype)))
    check_weights(trainer_with(load("float32")))


def test_adapters_on_16_bit_weights_are_taken_but_not_whole_modules_beside_them() -> None:
    check_weights(trainer_with(get_peft_model(load("bfloat16"), LoraConfig(target_modules=["q_proj"]))))
    beside = LoraConfig(target_modules=["q_proj"], modules_to_save=["embed_tokens"])
    with pytest.raises(ValueError, match="dtype bfloat16"):
        check_weights(trainer_with(get_peft_model(load("bfloat16"), beside)))


def test_training_by_a_recipe_stops_in_a_line_before_the_data_are_judged(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="error: dtype bfloat16"):
        main(["--config", str(TINY), "--dtype", "bfloat16", "--output_dir", str(tmp_path / "run")])
    assert not (tmp_path / "run").exists()


def test_fsdp2_adds_up_gradients_in_float32_and_in_shards() -> None:
    plugin = FullyShardedDataParallelPlugin(fsdp_version=2, mixed_precision_policy="bf16", auto_wrap_policy="no_wrap")
    assert plugin.mixed_precision_policy.reduce_dtype == torch.bfloat16, "as accelerate has it"
    accumulation: dict[str, Any] = {"num_steps": 8}
    state, gradients = SimpleNamespace(fsdp_plugin=plugin), SimpleNamespace(plugin_kwargs=accumulation)
    sum_in_float32(SimpleNamespace(state=state, gradient_state=gradients))
    assert plugin.mixed_precision_policy.reduce_dtype == torch.float32
    assert plugin.mixed_precision_policy.param_dtype == torch.bfloat16
    assert accumulation == {"num_steps": 8, "sync_each_batch": True}


def test_without_fsdp_nothing_changes_in_how_gradients_are_added_up() -> None:
    accelerator = Accelerator(cpu=True)
    before = dict(accelerator.gradient_state.plugin_kwargs)
    sum_in_float32(accelerator)
    assert accelerator.gradient_state.plugin_kwargs == before
