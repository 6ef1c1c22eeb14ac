"""What the check says of a recipe on given GPUs."""

from pathlib import Path

import pytest
import yaml
from transformers import LlamaConfig

from concise_rl.recipe.check import check_recipe
from concise_rl.recipe.fit.facts import find_facts
from concise_rl.recipe.fit.hardware import Gpus, find_launch
from concise_rl.recipe.fit.setup import Setup
from concise_rl.recipe.parse import parse_recipe

EIGHT = "Qwen/Qwen3-8B"
PHI = "microsoft/Phi-4-reasoning"
RECIPE = {
    "model_name_or_path": EIGHT,
    "dtype": "bfloat16",
    "attn_implementation": "sdpa",
    "dataset": "nobody/nowhere",
    "objective": "grpo",
    "num_generations": 16,
    "max_completion_length": 16384,
    "use_vllm": True,
    "vllm_mode": "colocate",
    "vllm_gpu_memory_utilization": 0.5,
    "vllm_max_model_length": 17408,
    "vllm_importance_sampling_mode": "token_truncate",
    "per_device_train_batch_size": 1,
    "gradient_accumulation_steps": 128,
    "bf16": True,
    "gradient_checkpointing": True,
    "output_dir": "runs/none",
}
HEADER = "# Hardware: 8 GPUs of 80 GB\n# Command: accelerate launch --config_file launch/accelerate/zero3.yaml\n"


@pytest.fixture
def said(tmp_path: Path, monkeypatch, capsys):
    """What the check prints of the recipe above under other settings."""
    monkeypatch.chdir(Path(__file__).parents[4])

    def check(gpus: str = "8x80", accelerate: str | None = None, **changed: object) -> str:
        path = tmp_path / "recipe.yaml"
        path.write_text(HEADER + yaml.safe_dump(RECIPE | changed))
        check_recipe(str(path), [], gpus, accelerate)
        return capsys.readouterr().out

    return check


def test_a_recipe_that_fits_is_fine_and_its_figures_are_printed(said) -> None:
    out = said()
    for line in (
        "DeepSpeed ZeRO-3 (launch/accelerate/zero3.yaml, which the recipe names)",
        "8.191B parameters, context 40,960 (from known facts, not from the hub)",
        "8 GPUs x 1 x 128 micro-batches = 1,024 rollouts, 64 prompts x 16",
        "prompt up to 1,024 + completion up to 16,384 tokens",
        "21.5 GiB of states + 9.6 of activations + 3.7 of the head = 34.8 on each GPU",
        "share 0.50 = 39.5 GiB: 15.3 of weights, 2.5 of its own, 21.7 for keys (144 KiB a token)",
        "holds 158k tokens, 9.1 full sequences at a time; a batch has 128 on each GPU",
        "with vllm_enable_sleep_mode a share up to 0.65 fits",
        "is fine",
    ):
        assert line in out


def test_a_share_that_is_smaller_than_what_fits_is_said(said) -> None:
    assert "! vllm_gpu_memory_utilization: 0.50 fits, and holds 9.1" in said(vllm_gpu_memory_utilization=0.35)
    assert "!" not in said()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"vllm_gpu_memory_utilization": 0.7}, "0.7 takes 55.3 GiB beside the trainer's 37.8 of 79.0: set it to 0.50"),
        ({"vllm_gpu_memory_utilization": 0.25}, "0.25 holds 0.8 full sequences of 17,408 tokens: set it to 0.50"),
        ({"vllm_enable_sleep_mode": True, "vllm_gpu_memory_utilization": 0.8}, "set it to 0.65"),
        ({"vllm_max_model_length": 65536}, "vllm_max_model_length is 65536, and Qwen/Qwen3-8B has a context of 40960"),
        ({"max_completion_length": 17408}, "max_completion_length is 17408, and vllm_max_model_length 17408 tokens"),
        ({"attn_implementation": "flash_attention_2"}, "set attn_implementation: sdpa"),
        ({"gradient_checkpointing": False}, "The trainer does not fit: .* Take gradient_checkpointing: true, or"),
        ({"gradient_accumulation_steps": 3}, "divisible by num_generations|whole groups"),
        (
            {"curriculum": "dynamic_sampling", "gradient_accumulation_steps": 4},
            "needs whole groups of 16 on each process",
        ),
        ({"model_name_or_path": "nobody/model"}, "`hf download nobody/model config.json`"),
    ],
)
def test_what_cannot_work_is_refused_with_what_to_change(said, changed: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        said(**changed)


def test_a_model_of_14b_fits_with_sleep_alone(said) -> None:
    phi = {"model_name_or_path": PHI, "vllm_max_model_length": 18432}
    with pytest.raises(ValueError, match=r"set vllm_enable_sleep_mode: true and 0\.50"):
        said(**phi, vllm_gpu_memory_utilization=0.35)
    with pytest.raises(ValueError, match=r"set vllm_enable_sleep_mode: true and 0\.50"):
        said(**phi, vllm_gpu_memory_utilization=0.3)
    assert "holds 51k tokens, 2.8 full sequences" in said(**phi, vllm_enable_sleep_mode=True)
    with pytest.raises(ValueError, match="vllm_tensor_parallel_size > 1 is not supported beside the trainer"):
        said(**phi, vllm_enable_sleep_mode=True, vllm_tensor_parallel_size=2)
    with pytest.raises(ValueError, match=r"The trainer does not fit: it needs 85.* GiB"):
        said("4x80", **phi)


def test_a_server_leaves_the_gpus_to_the_trainer(said) -> None:
    out = said("4x80", vllm_mode="server")
    assert "in a server on other GPUs" in out and "for keys" not in out


def test_bf16_weights_need_deepspeed_or_fsdp(said) -> None:
    small = {"model_name_or_path": "Qwen/Qwen3-0.6B", "vllm_gpu_memory_utilization": 0.3}
    with pytest.raises(ValueError, match="dtype bfloat16: all weights would be trained in bfloat16"):
        said("1x80", **small)
    assert "is fine" in said("1x80", **small, dtype="float32")
    assert "is fine" in said("1x80", **small, use_peft=True)
    assert "is fine" in said("4x80", "launch/accelerate/fsdp.yaml", **small)


def test_adapters_are_counted(said) -> None:
    small = {"model_name_or_path": "Qwen/Qwen3-0.6B", "vllm_gpu_memory_utilization": 0.6}
    out = said("1x80", **small, use_peft=True, lora_r=16, lora_target_modules="all-linear")
    # For each of 28 layers 16 x (in + out) of q and o (1024, 2048), k and v (1024, 1024), and of the MLP (1024, 3072).
    count = 28 * 16 * (2 * (1024 + 2048) + 2 * (1024 + 1024) + 3 * (1024 + 3072))
    assert f"{count / 1e6:.1f}M of them in adapters" in out
    states = (2 * 0.59605e9 + 16 * count) / 2**30
    assert f"{states:.1f} GiB of states" in out and "0.0 of the head" in out


def test_a_reference_model_is_counted(said) -> None:
    more = 2 * 8.1907e9 / 8 / 2**30
    assert f"{21.5 + more:.1f} GiB of states" in said(beta=0.001, vllm_gpu_memory_utilization=0.45)


def test_other_gpus_than_the_headers_change_the_batch(said) -> None:
    out = said("16x80")
    assert "on 2 nodes" in out
    assert "where a step has 64 prompts, and here 128: gradient_accumulation_steps 64 keeps that" in out


def test_a_cap_far_below_what_the_model_uses_is_said(said) -> None:
    out = said(model_name_or_path="Qwen/Qwen3-4B", max_completion_length=4096)
    assert "The cap of 4,096 tokens is far below the 9,104 that Qwen/Qwen3-4B takes" in out


def test_prompts_of_known_data_that_do_not_fit_are_said(said) -> None:
    out = said(dataset="agentica-org/DeepScaleR-Preview-Dataset")
    assert "has prompts of up to 3,137 tokens, and there is room for 1,024" in out


def test_a_serial_group_has_its_path_once(said) -> None:
    serial = {"objective": "s_grpo", "num_generations": 8, "per_device_train_batch_size": 8}
    options = {"objective_options": {"answer_max_tokens": 512, "exit_text": "</think>"}}
    out = said(**serial, **options, gradient_accumulation_steps=16, vllm_gpu_memory_utilization=0.45)
    tokens = 17408 + 7 * (512 + len("</think>") // 3 + 2)  # the path with its prompt, and seven exits
    assert f"{tokens * (2 * 36 * 4096 + 24 * 12288) / 2**30:.1f} of activations" in out


def test_the_hubs_cache_comes_before_known_facts(said, tmp_path: Path, monkeypatch) -> None:
    config = LlamaConfig(hidden_size=1024, intermediate_size=2048, num_hidden_layers=2, num_attention_heads=8)
    config.max_position_embeddings = 32768
    config.save_pretrained(tmp_path / "cached")
    monkeypatch.setattr(
        "concise_rl.recipe.fit.facts.try_to_load_from_cache", lambda *_, **__: str(tmp_path / "cached/config.json")
    )
    assert "context 32,768 (from the hub's cache)" in said(vllm_gpu_memory_utilization=0.6)


def test_supervised_fine_tuning_has_no_rollouts(tmp_path: Path, capsys) -> None:
    kept = ("model_name_or_path", "dataset", "dtype", "bf16", "output_dir", "attn_implementation")
    recipe = {"stage": "sft", "max_length": 4096} | {key: RECIPE[key] for key in kept}
    (tmp_path / "sft.yaml").write_text(yaml.safe_dump(recipe))
    check_recipe(str(tmp_path / "sft.yaml"), [], "8x80")
    out = capsys.readouterr().out
    assert "trainer" in out and "vLLM" not in out and "is fine" in out


def test_preferences_take_two_rows_each_and_a_reference(tmp_path: Path) -> None:
    kept = ("model_name_or_path", "dataset", "dtype", "bf16", "output_dir", "attn_implementation")
    recipe = {"max_length": 4096, "per_device_train_batch_size": 2} | {key: RECIPE[key] for key in kept}
    said = {}
    for stage in ("sft", "dpo"):
        (tmp_path / f"{stage}.yaml").write_text(yaml.safe_dump({"stage": stage, **recipe}))
        parsed = parse_recipe(tmp_path / f"{stage}.yaml", ["--bf16", "false", "--use_cpu", "true"])
        facts, gpus = find_facts(parsed.model_name), Gpus(8, 80)
        assert facts
        said[stage] = Setup(parsed, facts, gpus, find_launch(gpus, str(tmp_path / f"{stage}.yaml"))).training
    assert (said["sft"].tokens, said["dpo"].tokens) == (2 * 4096, 4 * 4096)
    assert said["dpo"].reference and not said["sft"].reference
