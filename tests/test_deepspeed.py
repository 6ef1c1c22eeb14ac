"""DeepSpeed as launch/accelerate sets it up: what accelerate takes from where, and how gradients are added up."""

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from accelerate.utils import DeepSpeedPlugin
from transformers import TrainingArguments
from transformers.integrations.deepspeed import HfTrainerDeepSpeedConfig

ROOT = Path(__file__).resolve().parents[1]
CPU = "launch/accelerate/cpu_zero3.yaml"
CONFIGS = sorted(path for path in (ROOT / "launch/accelerate").glob("*.yaml") if "deepspeed" in path.read_text())

pytest.importorskip("deepspeed", reason="the extra deepspeed is not installed")


def plugin_of(path: Path, monkeypatch: pytest.MonkeyPatch, **options: str) -> DeepSpeedPlugin:
    """What accelerate makes of a configuration and of options of `accelerate launch`."""
    config = yaml.safe_load(path.read_text())
    given = config["deepspeed_config"]
    fields = [*given, *(["mixed_precision"] if "mixed_precision" in config else [])]
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("ACCELERATE_CONFIG_DS_FIELDS", ",".join(fields))
    monkeypatch.setenv("ACCELERATE_DEEPSPEED_CONFIG_FILE", given["deepspeed_config_file"])
    for name, value in options.items():
        monkeypatch.setenv(f"ACCELERATE_DEEPSPEED_{name.upper()}", value)
    return DeepSpeedPlugin(zero3_init_flag=False)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_accelerate_takes_stage_and_gradient_type_from_the_deepspeed_file(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugin = plugin_of(path, monkeypatch)
    assert f"zero{plugin.zero_stage}" in path.stem
    assert (plugin.offload_optimizer_device, plugin.offload_param_device) == (
        ("cpu", "cpu") if path.stem.endswith("offload") else ("none", "none")
    )
    assert plugin.deepspeed_config["data_types"] == {"grad_accum_dtype": "fp32"}
    assert plugin.zero3_save_16bit_model == (plugin.zero_stage == 3)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
@pytest.mark.parametrize("precision", ["bf16", "no"])
def test_the_arithmetic_is_what_the_recipe_says(path: Path, precision: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plugin = plugin_of(path, monkeypatch)
    plugin.set_mixed_precision(precision)
    assert plugin.deepspeed_config["bf16"] == {"enabled": precision == "bf16"}
    assert plugin.deepspeed_config["fp16"] == {"enabled": False}


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_deepspeed_itself_takes_what_the_trainer_makes_of_the_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """transformers fills in what is `auto`; DeepSpeed refuses a key that it does not know."""
    plugin = plugin_of(path, monkeypatch)
    plugin.set_mixed_precision("bf16")
    arguments = TrainingArguments("unused", use_cpu=True, per_device_train_batch_size=3, gradient_accumulation_steps=5)
    plugin.hf_ds_config = HfTrainerDeepSpeedConfig(plugin.deepspeed_config)
    plugin.hf_ds_config.trainer_config_process(arguments)
    read = importlib.import_module("deepspeed.runtime.config").DeepSpeedConfig(plugin.hf_ds_config.config)
    assert f"zero{read.zero_optimization_stage}" in path.stem and read.bfloat16_config.enabled
    assert read.grad_accum_dtype == "fp32"
    assert (read.train_micro_batch_size_per_gpu, read.gradient_accumulation_steps) == (3, 5)


@pytest.mark.parametrize("path", [path for path in CONFIGS if "offload" not in path.stem], ids=lambda path: path.stem)
def test_offloading_is_off_unless_accelerate_is_told_otherwise(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert plugin_of(path, monkeypatch).offload_optimizer_device == "none"
    plugin = plugin_of(path, monkeypatch, offload_optimizer_device="cpu")
    assert plugin.deepspeed_config["zero_optimization"]["offload_optimizer"]["device"] == "cpu"


def gradient_of_many_small_steps(folder: Path, config: dict) -> dict:
    """What accumulation_run.py prints in two processes on CPUs."""
    (folder / "deepspeed.json").write_text(json.dumps(config))
    command = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", CPU]
    command += ["--deepspeed_config_file", str(folder / "deepspeed.json"), "tests/accumulation_run.py"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(next(line for line in done.stdout.splitlines() if line.startswith("{")))


@pytest.mark.slow
@pytest.mark.parametrize("stage", [2, 3])
def test_small_gradients_of_many_micro_steps_are_not_rounded_away_in_bf16(stage: int, tmp_path: Path) -> None:
    """Without `data_types` the sum is 1."""
    config = json.loads((ROOT / f"launch/deepspeed/zero{stage}.json").read_text())
    assert gradient_of_many_small_steps(tmp_path, config) == {"stage": stage, "sum": 1 + 64 / 1024}
