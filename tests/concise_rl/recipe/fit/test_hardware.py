"""GPUs, and strategies of accelerate configurations."""

import json
from pathlib import Path

import pytest
import yaml

from concise_rl.recipe.fit.hardware import Gpus, find_launch, read_strategy
from concise_rl.recipe.fit.memory import GIB, Strategy

ROOT = Path(__file__).parents[4]
ACCELERATE = ROOT / "launch/accelerate"


@pytest.mark.parametrize(
    ("text", "count", "gigabytes"), [("8x80", 8, 80), ("1x24", 1, 24), ("16X80", 16, 80), ("4x80GB", 4, 80)]
)
def test_gpus_are_their_number_and_the_gigabytes_that_each_is_sold_with(text: str, count: int, gigabytes: int) -> None:
    assert Gpus.parse(text) == Gpus(count, gigabytes)


def test_machines_are_named_before_their_gpus() -> None:
    assert Gpus.parse("16x8x80") == Gpus(128, 80, on_node=8)
    assert str(Gpus.parse("16x8x80")) == "128 GPUs of 80 GB on 16 nodes, 79 GiB usable on each"
    assert Gpus.parse("3x4x80").nodes == 3


HEADER = "# Hardware: 16 nodes of 8 GPUs of 80 GB (ZeRO-3): 12 train, 4 run a vLLM server each"


def test_machines_of_servers_are_shared_out_as_in_the_header() -> None:
    header = Gpus.of_header(HEADER)
    assert header == Gpus(96, 80, on_node=8, servers=4) and header.option == "16x8x80"
    assert Gpus.parse("16x8x80").shared_as(header) == header
    assert Gpus.parse("8x8x80").shared_as(header) == Gpus(48, 80, 8, servers=2)
    assert Gpus.parse("64x80").shared_as(header) == Gpus(64, 80), "no machines were named: all of them train"
    assert "2 more nodes for vLLM servers" in str(Gpus(48, 80, 8, servers=2))
    with pytest.raises(ValueError, match="give two or more"):
        Gpus.parse("1x8x80").shared_as(header)


@pytest.mark.parametrize(
    "text", ["80", "8x", "x80", "0x80", "8x0", "8 x 80 GB", "eightx80", "-8x80", "0x8x80", "2x8x8x80"]
)
def test_other_words_for_gpus_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="give their number and the GB of each, as 8x80"):
        Gpus.parse(text)


def test_a_card_of_80_gb_has_79_gib_to_use() -> None:
    assert Gpus(8, 80).memory == 79 * GIB
    assert str(Gpus(16, 80)) == "16 GPUs of 80 GB on 2 nodes, 79 GiB usable on each"
    assert str(Gpus(1, 24)) == "1 GPU of 24 GB, 23.7 GiB usable on each"


@pytest.mark.parametrize(
    ("name", "count", "kind"),
    [
        ("zero2", 8, "zero2"),
        ("zero3", 4, "zero3"),
        ("fsdp", 8, "fsdp"),
        ("multi_gpu", 8, "ddp"),
        ("multi_gpu", 1, "single"),
        ("single_gpu", 1, "single"),
    ],
)
def test_the_strategies_of_the_launch_folder_are_read(name: str, count: int, kind: str) -> None:
    strategy = read_strategy(ACCELERATE / f"{name}.yaml", count)
    assert (strategy.kind, strategy.gpus, strategy.offload_optimizer) == (kind, count, False)


def test_the_strategy_with_offloading_is_read() -> None:
    strategy = read_strategy(ACCELERATE / "zero3_offload.yaml", 16)
    assert strategy == Strategy("zero3", 16, offload_optimizer=True, offload_weights=True)


def test_one_process_for_several_gpus_is_refused() -> None:
    with pytest.raises(ValueError, match="starts one process, for one GPU"):
        read_strategy(ACCELERATE / "single_gpu.yaml", 8)


@pytest.mark.parametrize(("device", "offloaded"), [("cpu", True), ("none", False), ("auto", False)])
def test_deepspeed_may_have_a_file_of_its_own(tmp_path: Path, device: str, offloaded: bool) -> None:
    own = {"zero_optimization": {"stage": 3, "offload_optimizer": {"device": device}, "offload_param": None}}
    (tmp_path / "zero.json").write_text(json.dumps(own))
    config = {"distributed_type": "DEEPSPEED", "deepspeed_config": {"deepspeed_config_file": "zero.json"}}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    assert read_strategy(tmp_path / "config.yaml", 8) == Strategy("zero3", 8, offload_optimizer=offloaded)


def test_auto_in_deepspeeds_file_is_what_accelerate_says(tmp_path: Path) -> None:
    own = {"zero_optimization": {"stage": 2, "offload_optimizer": {"device": "auto"}}}
    (tmp_path / "zero.json").write_text(json.dumps(own))
    deepspeed = {"deepspeed_config_file": "zero.json", "offload_optimizer_device": "cpu"}
    config = {"distributed_type": "DEEPSPEED", "deepspeed_config": deepspeed}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    assert read_strategy(tmp_path / "config.yaml", 8) == Strategy("zero2", 8, offload_optimizer=True)


def test_accelerates_own_keys_may_offload(tmp_path: Path) -> None:
    deepspeed = {"zero_stage": 3, "offload_optimizer_device": "none", "offload_param_device": "cpu"}
    config = {"distributed_type": "DEEPSPEED", "deepspeed_config": deepspeed}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    assert read_strategy(tmp_path / "config.yaml", 8) == Strategy("zero3", 8, offload_weights=True)


@pytest.mark.parametrize(
    ("text", "message"), [("a: 1", "no accelerate configuration"), ("distributed_type: XLA", "XLA is none of")]
)
def test_other_files_are_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_strategy(tmp_path / "config.yaml", 8)
    with pytest.raises(ValueError, match="No accelerate configuration at"):
        read_strategy(tmp_path / "nowhere.yaml", 8)


def test_the_configuration_that_the_recipes_command_names_is_taken(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)  # it is found from the recipe, too
    recipe = ROOT / "recipes/r1-distill-qwen-1.5b/decs.yaml"
    launch = find_launch(Gpus(4, 80), recipe)
    assert launch.strategy.kind == "zero2" and "which the recipe names" in launch.said
    assert find_launch(Gpus(4, 80), recipe, str(ACCELERATE / "zero3.yaml")).strategy.kind == "zero3"


def test_without_one_a_gpu_has_a_process_and_several_have_zero3(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text("dataset: tiny:sums")
    for count, kind in ((1, "single"), (2, "zero3")):
        launch = find_launch(Gpus(count, 24), tmp_path / "recipe.yaml")
        assert launch.strategy.kind == kind and "assumed" in launch.said
