"""recipes/: what a header says is what the recipe does, and nothing in one needs what set-up does not install."""

import argparse
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from concise_rl.cli.parser import build_parser
from concise_rl.evaluate.cli import measurement_of
from concise_rl.evaluate.spec import Measurement
from concise_rl.evaluate.suite.tasks import expand
from concise_rl.recipe.check import findings_of
from concise_rl.recipe.fit.hardware import Gpus
from concise_rl.recipe.parse import parse_recipe

ROOT = Path(__file__).resolve().parents[1]
RECIPES = sorted((ROOT / "recipes").rglob("*.yaml"))
SERVED = [path for path in RECIPES if "\nvllm_mode: server" in path.read_text()]
LARGE = [path for path in RECIPES if "GPUs of 80 GB" in path.read_text() and path not in SERVED]
BESIDE_VLLM = [path for path in RECIPES if "use_vllm: true" in path.read_text() and path not in SERVED]


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


# Recipes for many machines


@pytest.mark.parametrize("path", SERVED, ids=name_of)
def test_the_header_of_a_served_recipe_says_what_the_check_finds(path: Path) -> None:
    header, recipe = Gpus.of_header(path.read_text()), settings(path)
    assert header and header.servers
    rows = recipe["per_device_train_batch_size"] * turns(path)
    assert rows % recipe["num_generations"] == 0, "whole groups on each GPU"
    assert header.count * rows == int(said(path, r"# Rollouts: (\d+) prompts")) * recipe["num_generations"]
    findings = findings_of(str(path), [], header.option)
    assert not findings.faults and f"--gpus {header.option}" in path.read_text()
    text = "\n".join(value for _, value in findings.facts)
    states, activations, head = re.search(r"([\d.]+) GiB of states \+ ([\d.]+) .*? \+ ([\d.]+)", text).groups()  # ty: ignore
    assert round(float(states)) == int(said(path, r"(\d+) GiB of states on each"))
    assert round(float(activations) + float(head)) == pytest.approx(int(said(path, r"and (\d+) of activations")), abs=1)
    held, for_each = re.search(r"holds (\d+) full sequences at a time; a batch has (\d+)", text).groups()  # ty: ignore
    assert held == said(path, r"holds (\d+) rollouts") and for_each == said(path, r"(\d+) of a batch are for each")
    assert int(said(path, r"writes (\d+) GiB")) == round(float(re.search(r"([\d.]+) GiB of weights go", text)[1]))  # ty: ignore
    room = recipe["vllm_max_model_length"] - recipe["max_completion_length"]
    assert room == int(said(path, r"# Room: +(\d+) tokens"))


@pytest.mark.parametrize("path", SERVED, ids=name_of)
def test_the_commands_of_a_served_recipe_start_the_servers_that_it_is_for(path: Path) -> None:
    header, recipe = Gpus.of_header(path.read_text()), settings(path)
    assert header
    nodes, length = header.nodes + header.servers, f"--max-model-len {recipe['vllm_max_model_length']}"
    assert f'SERVER_NODES={header.servers} SERVER_FLAGS="{length}" sbatch --nodes {nodes} ' in path.read_text()
    assert f'launch/nodes.sh --servers {header.servers} --server-flags "{length}"' in path.read_text()


# What is measured


def commands(path: Path, name: str) -> list[argparse.Namespace]:
    """The `concise-rl` commands of that name that a header shows to evaluate by, as the real parser reads them."""
    shown = path.read_text().split("# Evaluate:")[1].split("# Expect:")[0]
    lines = re.sub(r"\\\n# +", "", shown).replace("#", "").splitlines()
    words = [shlex.split(line) for line in lines if line.strip().startswith(f"concise-rl {name} ")]
    return [build_parser().parse_args(line[1:]) for line in words]


def measured(path: Path) -> dict[str, Measurement]:
    """How the first command measures each task."""
    args = commands(path, "eval")[0]
    return {one.task: measurement_of(args, one, Path("nowhere")) for one in expand(args.task)}


def expected(path: Path) -> str:
    """What a header expects, in one line."""
    header = path.read_text().split("# Expect:")[1].split("\n\n")[0]
    return " ".join(re.sub(r"\n# *|\n\w.*", " ", header).split())


@pytest.mark.parametrize("path", RECIPES, ids=name_of)
def test_the_evaluation_that_is_shown_is_of_what_the_recipe_makes(path: Path) -> None:
    recipe, shown = settings(path), commands(path, "eval")
    assert shown
    for args in shown:
        assert args.model == [f"{path.stem}={recipe['output_dir']}"]
        assert args.baseline == (None if path.stem.startswith("sft") else recipe["model_name_or_path"])
        assert args.out.parts[:2] == ("runs", "eval")
    assert len({args.out for args in shown}) == len(shown), "each has a folder of its own"


@pytest.mark.parametrize("path", RECIPES, ids=name_of)
def test_problems_are_put_as_in_the_training(path: Path) -> None:
    for name, found in measured(path).items():
        if found.verifier in ("math", "reasoning_gym"):
            assert found.prompt_template == settings(path).get("prompt_template"), name


@pytest.mark.parametrize("path", RECIPES, ids=name_of)
def test_as_much_is_measured_as_the_expected_numbers_are_of(path: Path) -> None:
    said, found = expected(path), measured(path)
    for problems, samples in re.findall(r"(\d+) test problems x (\d+) samples", said):
        assert {(one.problems, one.samples) for one in found.values()} == {(int(problems), int(samples))}
    for total in re.findall(r"measured, (\d+) samples of test problems", said):
        assert [(one.problems or 0) * one.samples for one in found.values()] == [int(total)]
    for samples in re.findall(r"(?<!x )\b(\d+) samples(?:\)|, temp)", said):
        assert {one.samples for one in found.values()} == {int(samples)}
    if "128 samples of AIME and AMC, 10 of LiveCodeBench, 16 of the others" in said:
        assert {name: one.samples for name, one in found.items()} == {
            **dict.fromkeys(("aime24", "aime25", "amc23"), 128),
            **dict.fromkeys(("math500", "olympiadbench", "gpqa_diamond"), 16),
            "lcb_v6": 10,
        }


@pytest.mark.parametrize("path", RECIPES, ids=name_of)
def test_it_is_sampled_as_the_expected_numbers_were(path: Path) -> None:
    said, found = expected(path), measured(path).values()
    number = r"(\d(?:\.\d+)?)"
    words = {"temperature": f"temperature {number}", "top_p": f"top-p {number}", "top_k": r"top-k (\d+)"}
    for name, pattern in words.items():
        for value in re.findall(pattern, said):
            assert {getattr(one, name) for one in found} == {float(value)}
    for thousands in re.findall(r"cap (\d+)k", said):
        assert {one.max_tokens for one in found} == {1024 * int(thousands)}


NAMES = {
    "math500": r"MATH-500",
    "gsm8k": r"GSM8K",
    "aime24": r"AIME 2024",
    "aime25": r"AIME 2025|AIME 2024 and 2025",
    "amc23": r"AMC 2023",
    "olympiadbench": r"OlympiadBench",
    "gpqa_diamond": r"GPQA",
    "lcb_v6": r"LiveCodeBench",
}


@pytest.mark.parametrize("path", RECIPES, ids=name_of)
def test_the_benchmarks_of_the_expected_numbers_are_those_that_are_measured(path: Path) -> None:
    said = expected(path)
    named = {name for name, words in NAMES.items() if re.search(words, said)}
    published = "the paper's" in said or "the authors'" in said
    if named and published:
        assert named == set(measured(path))


@pytest.mark.parametrize(
    "path", [p for p in RECIPES if re.search("three seeds|3 seeds", expected(p).split("After")[0])], ids=name_of
)
def test_numbers_of_three_seeds_come_with_the_sweep_that_makes_them(path: Path) -> None:
    [sweep], [found] = commands(path, "sweep"), measured(path).values()
    assert sweep.recipes == [Path("recipes") / name_of(path)]
    assert (sweep.seeds, sweep.problems, sweep.samples) == (3, found.problems, found.samples)
