"""recipes/: what a header says is what the recipe does, and nothing in one needs what set-up does not install."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from concise_rl.cli.parser import build_parser
from concise_rl.recipe.parse import parse_recipe

ROOT = Path(__file__).resolve().parents[1]
RECIPES = sorted((ROOT / "recipes").rglob("*.yaml"))
LARGE = [path for path in RECIPES if "GPUs of 80 GB" in path.read_text()]
BESIDE_VLLM = [path for path in RECIPES if "use_vllm: true" in path.read_text()]


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT / "recipes"))


def said(path: Path, pattern: str) -> str:
    """What the text of a recipe says where the pattern has its group; line breaks of the header are spaces."""
    found = re.search(pattern, re.sub(r"\n#           +", " ", path.read_text()))
    assert found, f"{name_of(path)} does not say {pattern}"
    return found[1]


def settings(path: Path) -> dict[str, Any]:
    return yaml.safe_load(path.read_text())


def gpus(path: Path) -> int:
    return int(said(path, r"# Hardware: (\d+) GPUs?"))


def turns(path: Path) -> int:
    """Micro-batches of one generation."""
    recipe = settings(path)
    return recipe.get("steps_per_generation") or recipe["gradient_accumulation_steps"]


# What is needed


@pytest.mark.parametrize("path", RECIPES, ids=name_of)
def test_no_recipe_needs_a_package_that_set_up_does_not_install(path: Path) -> None:
    recipe = parse_recipe(path, ["--bf16", "false", "--use_cpu", "true"])
    training, model = recipe.training, recipe.model
    assert model.attn_implementation in ("sdpa", None), "flash_attention_2 needs the extra kernels"
    assert not (model.load_in_4bit or model.load_in_8bit), "bitsandbytes"
    assert not getattr(training, "use_liger_kernel", False), "liger-kernel"
    assert "8bit" not in training.optim and "bnb" not in training.optim, "bitsandbytes"
    assert training.report_to == [], "wandb and the like are extras"


# Large recipes


@pytest.mark.parametrize("path", LARGE, ids=name_of)
def test_the_batch_is_the_prompts_and_groups_that_are_said(path: Path) -> None:
    recipe, group = settings(path), settings(path)["num_generations"]
    rows = recipe["per_device_train_batch_size"] * turns(path)
    assert rows % group == 0, "whole groups on each GPU"
    assert gpus(path) * rows // group == int(said(path, r"# Rollouts: (\d+) (?:prompts x|paths)"))
    assert turns(path) % recipe["gradient_accumulation_steps"] == 0


@pytest.mark.parametrize("path", LARGE, ids=name_of)
def test_the_command_starts_a_process_on_each_gpu_in_the_way_that_is_said(path: Path) -> None:
    config = said(path, r"--config_file (\S+)")
    command = path.read_text().split("# Command:")[1].split("# Evaluate:")[0]
    processes = re.search(r"--num_processes (\d+)", command)
    started = int(processes[1]) if processes else yaml.safe_load((ROOT / config).read_text())["num_processes"]
    assert started == gpus(path)
    stage = said(path, r"DeepSpeed ZeRO-(\d)")
    assert config == f"launch/accelerate/zero{stage}.yaml"


@pytest.mark.parametrize("path", LARGE, ids=name_of)
def test_the_loss_is_chosen_and_a_kl_term_is_the_plain_one_of_the_papers(path: Path) -> None:
    recipe = settings(path)
    assert "loss_type" in recipe
    assert recipe["beta"] == 0 or recipe["use_bias_correction_kl"] is False


@pytest.mark.parametrize("path", [p for p in LARGE if "decs" in p.name], ids=name_of)
def test_decs_takes_as_many_steps_as_its_authors_can(path: Path) -> None:
    assert settings(path)["max_steps"] == 3 * (40315 // 128)


@pytest.mark.parametrize("path", BESIDE_VLLM, ids=name_of)
def test_the_room_for_prompts_is_what_is_said(path: Path) -> None:
    recipe = settings(path)
    room = recipe["vllm_max_model_length"] - recipe["max_completion_length"]
    assert room == int(said(path, r"# Room: +(\d+) tokens"))


@pytest.mark.parametrize("path", BESIDE_VLLM, ids=name_of)
def test_the_share_of_vllm_is_what_is_said(path: Path) -> None:
    recipe = settings(path)
    assert recipe["vllm_gpu_memory_utilization"] == float(said(path, r"share of (0\.\d\d)"))
    assert recipe.get("vllm_enable_sleep_mode", False) == ("vLLM sleeps" in path.read_text())


@pytest.mark.parametrize("path", LARGE, ids=name_of)
def test_the_evaluation_that_is_shown_is_of_this_recipe(path: Path) -> None:
    recipe = settings(path)
    shown = path.read_text().split("# Evaluate: concise-rl ")[1].split("# Expect:")[0]
    line = re.sub(r"\\\n# +", "", shown).strip().replace("$'", "'").replace("\\\\", "\\").replace("\\n", "\n")
    args = build_parser().parse_args(shlex.split(line))
    assert args.model == [f"{path.stem}={recipe['output_dir']}"]
    assert args.baseline == recipe["model_name_or_path"]
    assert args.prompt_template == recipe["prompt_template"]


@pytest.mark.parametrize("path", LARGE, ids=name_of)
def test_the_memory_is_what_the_arithmetic_says(path: Path) -> None:
    setup_of = pytest.importorskip("concise_rl.recipe.fit.setup", reason="the arithmetic is not there")
    from concise_rl.recipe.fit.facts import find_facts
    from concise_rl.recipe.fit.hardware import Gpus, find_launch
    from concise_rl.recipe.fit.memory import GIB

    cards = Gpus(gpus(path), 80)
    recipe = parse_recipe(path, ["--bf16", "false", "--use_cpu", "true"])
    recipe.training.bf16 = True  # which TRL refuses to parse without a GPU
    facts = find_facts(recipe.model_name)
    assert facts
    setup = setup_of.Setup(recipe, facts, cards, find_launch(cards, path))
    share = recipe.training.vllm_gpu_memory_utilization
    assert share == pytest.approx(setup.share(sleep=True))
    assert round(setup.trainer.states / GIB) == int(said(path, r"on each GPU (\d+) GiB of states"))
    rest = round((setup.trainer.activations + setup.trainer.head) / GIB)
    assert rest == pytest.approx(int(said(path, r"and (\d+) of activations")), abs=1)
    assert setup.cache(share).sequences == pytest.approx(float(said(path, r"holds ([\d.]+) rollouts")), rel=0.05)
