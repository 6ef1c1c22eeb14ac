"""Checking a recipe without training: everything that can be known to fail before the first step."""

import functools
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import get_peft_model
from pydantic import BaseModel
from rich.console import Console
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
from trl import get_peft_config

from concise_rl.compatibility import check_compatible, passages_wanted, shares_prefixes
from concise_rl.config import ConciseConfig, mapping
from concise_rl.data import MAX_UNVERIFIABLE, keep_verifiable, to_messages
from concise_rl.judges import DEFAULT_JUDGE, judge_options
from concise_rl.objective import PlanContext, build_objective
from concise_rl.prefix_attention import use_tree_attention
from concise_rl.recipe import Recipe, parse_overrides, parse_recipe, read_recipe
from concise_rl.schedule import build_curriculum
from concise_rl.sources import GENERATED
from concise_rl.tiny import resolve_model
from concise_rl.trace import Delimiters, encode_words
from concise_rl.verifiers import find_verifier
from concise_rl.verify import VerifierPool

JUDGED_ROWS = 64
"""Rows whose own answers the check has judged."""
TOLERATED = 0.1
"""Share of these that the verifier may refuse, where there are more rows, which need not be like the first."""


def check_objective(config: ConciseConfig) -> list[str]:
    """Build the objective and the curriculum, look the verifier and the judge up. Returns what to print.

    Raises:
        ValueError: as the builders of each do, `check_compatible` and `find_verifier`.
    """
    objective = build_objective(config.objective, config.options, config.scale_rewards)
    check_compatible(objective, config)
    find_verifier(config.verifier)
    more, curriculum = [], None
    if config.curriculum:
        curriculum = build_curriculum(config.curriculum, mapping(config.curriculum_options))
        more.append(f"curriculum {config.curriculum} ({_listed(curriculum)})")
    if passages_wanted(objective, config, curriculum):
        judge = config.judge or DEFAULT_JUDGE
        judge_options(judge, mapping(config.judge_options))
        more.append(f"judge      {judge}")
    assert config.generation_batch_size and config.num_generations, "TRL has derived them"
    prompts = config.generation_batch_size // config.num_generations
    return [
        f"objective  {config.objective} ({_listed(objective)})",
        f"rollouts   {prompts} prompts x {config.num_generations}, at most {config.max_completion_length} tokens each",
        *more,
    ]


def _listed(options: BaseModel) -> str:
    return ", ".join(f"{key}={value!r}" for key, value in options.model_dump().items())


def check_model(recipe: Recipe) -> list[str]:
    """Find the model; where its tokenizer is on this machine, encode the think delimiter."""
    name = recipe.model_name
    path = resolve_model(name)
    if not Path(path).is_dir():
        return [f"model      {name} (hub id, not looked up)"]
    if recipe.stage == "rl":
        check_rollouts(recipe, path)
    return [f"model      {name}"]


def check_rollouts(recipe: Recipe, path: str) -> None:
    """See whether a model on this machine can make the rollouts of the method, and share their prefixes if asked to.

    Raises:
        ValueError: as `Delimiters.of`, a method's `plan`, `Plan.check_cap` and `use_tree_attention` do.
    """
    config: ConciseConfig = recipe.training
    tokenizer: Any = AutoTokenizer.from_pretrained(path)
    delimiters = Delimiters.of(tokenizer, [tokenizer.eos_token_id], config.think_end)
    objective = build_objective(config.objective, config.options, config.scale_rewards)
    assert config.num_generations, "TRL has a default"
    plan = objective.plan(PlanContext(delimiters, config.num_generations, functools.partial(encode_words, tokenizer)))
    if config.max_completion_length:
        plan.check_cap(config.max_completion_length)
    if shares_prefixes(objective, config):
        attention = mapping(config.model_init_kwargs).get("attn_implementation")
        with torch.device("meta"):
            model: Any = AutoModelForCausalLM.from_config(
                AutoConfig.from_pretrained(path), attn_implementation=attention
            )
        adapters = get_peft_config(recipe.model)
        peft_model: Any = get_peft_model(model, adapters) if adapters else model
        use_tree_attention(peft_model)


def check_data(recipe: Recipe) -> list[str]:
    """Load the rows, where the data set needs no hub; put the first to the model, and try the verifier.

    Raises:
        ValueError: as `load_rows`, `to_messages` and `keep_verifiable` do.
    """
    data = recipe.data
    verifier = [f"verifier   {recipe.training.verifier} (not tried)"] if recipe.stage == "rl" else []
    on_hub = not data.dataset.startswith(GENERATED) and not Path(data.dataset).exists()
    if on_hub and not data.dataset.endswith((".json", ".jsonl", ".parquet")):
        return [f"data       {data.dataset} (hub id, not looked up)", *verifier]
    rows = data.load(recipe.training.seed)
    to_messages(rows.select([0]), data.prompt_template, data.system_prompt)
    if recipe.stage == "rl":
        verifier = [check_answers(rows, recipe.training)]
    return [f"data       {data.dataset}: {len(rows)} rows", *verifier]


def check_answers(rows: Dataset, config: ConciseConfig) -> str:
    """Have the own answers of the first rows judged.

    Raises:
        ValueError: as `keep_verifiable` does.
    """
    first = rows.select(range(min(JUDGED_ROWS, len(rows))))
    limits = config.verifier_workers, config.verifier_timeout, config.verifier_memory_mb, config.refuse_copied
    with VerifierPool(config.verifier, *limits) as pool:
        tolerated = TOLERATED if len(first) < len(rows) else MAX_UNVERIFIABLE
        kept, _ = keep_verifiable(first, pool, tolerated)
    return f"verifier   {config.verifier}: accepts the own answers of {len(kept)} of {len(first)} rows"


def check_recipe(path: str, overrides: list[str]) -> None:
    """Check a recipe and print what it would do.

    Raises:
        ValueError: saying what is wrong and what to do about it.
    """
    settings = {**read_recipe(path), **parse_overrides(overrides)}
    no_gpu = not torch.accelerator.is_available() and not settings.get("use_cpu")
    recipe = parse_recipe(path, [*overrides, "--use_cpu", "true"] if no_gpu else overrides)
    lines = check_model(recipe)
    if recipe.stage == "rl":
        lines += check_objective(recipe.training)
    lines += check_data(recipe)
    if no_gpu and (recipe.training.bf16 or recipe.training.fp16):
        lines.append("There is no GPU here: what needs one was not checked.")
    console = Console(highlight=False)
    console.print("\n".join(lines), markup=False)
    console.print(f"{path} is fine.")
