"""Checking a recipe without training: everything that can be known to fail before the first step."""

from pathlib import Path
from typing import Any

from pydantic import BaseModel
from rich.console import Console
from transformers import AutoTokenizer

from concise_rl.config import ConciseConfig, mapping
from concise_rl.recipe import Recipe, parse_recipe
from concise_rl.sources import GENERATED
from concise_rl.tiny import resolve_model
from concise_rl.trace import Delimiters
from concise_rl.verifiers import find_verifier


def check_objective(config: ConciseConfig) -> list[str]:
    """Build the objective and the curriculum, look the verifier and the judge up. Returns what to print.

    Raises:
        ValueError: as the builders of each do, `check_compatible` and `find_verifier`.
    """
    from concise_rl.compatibility import check_compatible
    from concise_rl.judges import judge_options
    from concise_rl.objective import build_objective
    from concise_rl.schedule import build_curriculum

    objective = build_objective(config.objective, config.options, config.scale_rewards)
    check_compatible(objective, config)
    find_verifier(config.verifier)
    more = []
    if config.curriculum:
        curriculum = build_curriculum(config.curriculum, mapping(config.curriculum_options))
        more.append(f"curriculum {config.curriculum} ({_listed(curriculum)})")
    if config.judge:
        judge_options(config.judge, mapping(config.judge_options))
        more.append(f"judge      {config.judge}")
    assert config.generation_batch_size and config.num_generations, "TRL has derived them"
    prompts = config.generation_batch_size // config.num_generations
    return [
        f"objective  {config.objective} ({_listed(objective)})",
        f"rollouts   {prompts} prompts x {config.num_generations}, at most {config.max_completion_length} tokens each",
        f"verifier   {config.verifier}",
        *more,
    ]


def _listed(options: BaseModel) -> str:
    return ", ".join(f"{key}={value}" for key, value in options.model_dump().items())


def check_model(recipe: Recipe) -> list[str]:
    """Find the model; where its tokenizer is on this machine, encode the think delimiter."""
    name = recipe.model_name
    path = resolve_model(name)
    if not Path(path).is_dir():
        return [f"model      {name} (hub id, not looked up)"]
    if recipe.stage == "rl":
        tokenizer: Any = AutoTokenizer.from_pretrained(path)
        Delimiters.of(tokenizer, [tokenizer.eos_token_id], recipe.training.think_end)
    return [f"model      {name}"]


def check_data(recipe: Recipe) -> list[str]:
    """Load the first rows, where the data set needs no hub."""
    data = recipe.data
    on_hub = not data.dataset.startswith(GENERATED) and not Path(data.dataset).exists()
    if on_hub and not data.dataset.endswith((".json", ".jsonl", ".parquet")):
        return [f"data       {data.dataset} (hub id, not looked up)"]
    return [f"data       {data.dataset}: {len(data.load())} rows"]


def check_recipe(path: str, overrides: list[str]) -> None:
    """Check a recipe and print what it would do.

    Raises:
        ValueError: saying what is wrong and what to do about it.
    """
    recipe = parse_recipe(path, overrides)
    lines = [*check_model(recipe), *check_data(recipe)]
    if recipe.stage == "rl":
        lines += check_objective(recipe.training)
    console = Console(highlight=False)
    console.print("\n".join(lines), markup=False)
    console.print(f"{path} is fine.")
