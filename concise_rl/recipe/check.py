"""Checking a recipe without training: everything that can be known to fail before the first step."""

from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import get_peft_model
from pydantic import BaseModel
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerBase
from trl import get_peft_config

from concise_rl.curriculum.curricula import build_curriculum
from concise_rl.data.rows import MAX_UNVERIFIABLE, keep_verifiable, to_messages
from concise_rl.data.sources import GENERATED, SELECTED
from concise_rl.labels.judges import DEFAULT_JUDGE, judge_options
from concise_rl.methods import RunContext
from concise_rl.models.eos import eos_ids_of
from concise_rl.models.policy import hub_settings
from concise_rl.named import mapping
from concise_rl.output.lines import console_for, print_json, say
from concise_rl.reading.trace import Delimiters
from concise_rl.recipe.compatibility import (
    check_compatible,
    check_preferences,
    label_of,
    parts_of,
    shares_prefixes,
    stages_wanted,
)
from concise_rl.recipe.config import ConciseConfig
from concise_rl.recipe.demonstrations import LOADERS
from concise_rl.recipe.findings import Findings
from concise_rl.recipe.fit.facts import find_facts
from concise_rl.recipe.fit.hardware import Gpus, find_launch
from concise_rl.recipe.fit.report import report_fit, unknown_model
from concise_rl.recipe.fit.setup import Setup
from concise_rl.recipe.parse import Recipe, parse_overrides, parse_recipe, read_recipe
from concise_rl.recipe.preflight import (
    check_cap,
    check_groups,
    check_prompt,
    check_rows,
    find_packages,
    local_folder,
    prompts_a_step,
)
from concise_rl.recipe.problems import find_too_long, read_rows, room_for_prompts
from concise_rl.rollout.sync.refused import refuse_unsupported
from concise_rl.shared_prefix.attention import use_tree_attention
from concise_rl.verify.pool import VerifierPool
from concise_rl.verify.verifiers import find_verifier
from reward import build_objective

JUDGED_ROWS = 64
"""Rows whose own answers the check has judged."""
TOLERATED = 0.1
"""Share of these that the verifier may refuse, where there are more rows, which need not be like the first."""
SHOWN = 400
"""Characters of a prompt that are shown, of both its ends."""


def check_objective(config: ConciseConfig) -> list[tuple[str, str]]:
    """Build the objective and the curriculum, look the verifier and the judge up. Returns what to print.

    Raises:
        ValueError: as the builders of each do, `check_compatible` and `find_verifier`.
    """
    objective = build_objective(config.objective, config.options, config.scale_rewards)
    check_compatible(objective, config)
    if config.use_vllm:
        refuse_unsupported(config)
    find_verifier(config.verifier)
    more, curriculum = [], None
    if config.curriculum:
        curriculum = build_curriculum(config.curriculum, mapping(config.curriculum_options))
        more.append(("curriculum", f"{config.curriculum} ({_listed(curriculum)})"))
    if label_of(stages_wanted(parts_of(objective, config), config, curriculum)):
        judge = config.judge or DEFAULT_JUDGE
        judge_options(judge, mapping(config.judge_options))
        more.append(("judge", judge))
    rollouts = f"{prompts_a_step(config)} prompts x {config.num_generations}"
    return [
        ("objective", f"{config.objective} ({_listed(objective)})"),
        ("rollouts", f"{rollouts}, at most {config.max_completion_length} tokens each"),
        *more,
    ]


def _listed(options: BaseModel) -> str:
    return ", ".join(f"{key}={value!r}" for key, value in options.model_dump().items())


def check_model(recipe: Recipe, findings: Findings) -> PreTrainedTokenizerBase | None:
    """Find the model; where its tokenizer is on this machine, render a prompt and encode the think delimiter.

    Raises:
        ValueError: as `local_folder`, `check_prompt` and `check_rollouts` do.
    """
    name = recipe.model_name
    folder = local_folder(recipe)
    findings.add("model", name if folder else f"{name} (hub id, not looked up)")
    if folder is None:
        return None
    tokenizer: Any = AutoTokenizer.from_pretrained(folder, **hub_settings(recipe.training))
    with findings.collecting():
        check_prompt(recipe, tokenizer)
    if recipe.stage == "rl":
        with findings.collecting():
            findings.add("ends", check_rollouts(recipe, folder, tokenizer))
    return tokenizer


def check_rollouts(recipe: Recipe, folder: Path, tokenizer: PreTrainedTokenizerBase) -> str:
    """See whether a model on this machine can make the rollouts of the method, and share their prefixes if asked to.

    Returns:
        What ends the thinking, and a completion.

    Raises:
        ValueError: as `Delimiters.of`, a method's `plan`, `Plan.check_cap` and `use_tree_attention` do.
    """
    config: ConciseConfig = recipe.training
    eos = eos_ids_of(str(folder), tokenizer)
    delimiters = Delimiters.of(tokenizer, eos, config.think_end)
    objective = build_objective(config.objective, config.options, config.scale_rewards)
    assert config.num_generations, "TRL has a default"
    run = RunContext.of(delimiters, config.num_generations, tokenizer)
    plan = objective.parts(run).plan
    if config.max_completion_length:
        plan.check_cap(config.max_completion_length)
    if shares_prefixes(objective, config):
        _try_tree_attention(recipe, folder)
    closing = f"{config.think_end!r} (tokens: {len(delimiters.think_end)}) the thinking, " if config.think_end else ""
    return f"{closing}{' or '.join(map(repr, map(tokenizer.convert_ids_to_tokens, eos)))} a completion"


def _try_tree_attention(recipe: Recipe, folder: Path) -> None:
    attention = mapping(recipe.training.model_init_kwargs).get("attn_implementation")
    with torch.device("meta"):
        model: Any = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder), attn_implementation=attention)
    adapters = get_peft_config(recipe.model)
    peft_model: Any = get_peft_model(model, adapters) if adapters else model
    use_tree_attention(peft_model)


def check_data(recipe: Recipe, tokenizer: PreTrainedTokenizerBase | None, findings: Findings) -> None:
    """Load the rows, where the data set needs no hub; put the first to the model, measure the longest, and try the
    verifier.

    Raises:
        ValueError: as `load_rows` and `to_messages` do.
    """
    data = recipe.data
    is_rl = recipe.stage == "rl"
    on_hub = not data.dataset.startswith((*GENERATED, SELECTED)) and not Path(data.dataset).exists()
    if on_hub and not data.dataset.endswith((".json", ".jsonl", ".parquet")):
        findings.add("data", f"{data.dataset} (hub id, not looked up)")
        findings.facts += [("verifier", f"{recipe.training.verifier} (not tried)")] if is_rl else []
        return
    rows = read_rows(recipe) if is_rl else data.load(recipe.training.seed, ())
    findings.add("data", f"{data.dataset}: {len(rows)} rows")
    to_messages(rows.select([0]), data.prompt_template, data.system_prompt)
    with findings.collecting():
        check_rows(len(rows), recipe)
    if tokenizer is not None:
        with findings.collecting():
            findings.add("prompt", _elided(check_prompt(recipe, tokenizer, rows[0]["prompt"])))
    if is_rl and tokenizer is not None:
        with findings.collecting():
            findings.add("", _fitting(rows, recipe))
    if not is_rl and tokenizer is not None:
        with findings.collecting():
            LOADERS[recipe.stage](recipe)
    if is_rl:
        with findings.collecting():
            findings.add("verifier", check_answers(rows, recipe.training))


def _fitting(rows: Dataset, recipe: Recipe) -> str:
    room, dropped = room_for_prompts(recipe), find_too_long(rows, recipe)
    beside = "" if room is None else f" in the {room.tokens:,} tokens beside the cap"
    return f"{len(rows) - len(dropped):,} of {len(rows):,} prompts fit{beside}"


def _elided(text: str) -> str:
    """A text in a line, without its middle where it is long."""
    return repr(text if len(text) <= SHOWN else f"{text[: SHOWN // 2]} ... {text[-SHOWN // 2 :]}")


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
    return f"{config.verifier}: accepts the own answers of {len(kept)} of {len(first)} rows"


def check_recipe(
    path: str, overrides: list[str], gpus: str | None = None, accelerate: str | None = None, *, as_json: bool = False
) -> None:
    """Check a recipe and print what it would do.

    Args:
        path: the recipe.
        overrides: settings laid over it.
        gpus: on which it would run, as `8x80`; the run's memory is not looked at without them.
        accelerate: the accelerate configuration that it would be started with.
        as_json: print what was found as JSON, in place of text.

    Raises:
        ValueError: with all that is wrong and what to do about it, a line each.
    """
    findings = findings_of(path, overrides, gpus, accelerate)
    if as_json:
        print_json({"recipe": path, **findings.to_json()})
    else:
        findings.print()
    findings.refuse()
    say(console_for(as_json), f"{path} is fine.")


def findings_of(path: str, overrides: list[str], gpus: str | None = None, accelerate: str | None = None) -> Findings:
    """All that a check of a recipe finds; arguments as in `check_recipe`.

    Raises:
        ValueError: for a recipe that cannot be read.
    """
    header = Gpus.of_header(Path(path).read_text(errors="replace")) if Path(path).is_file() else None
    on = Gpus.parse(gpus).shared_as(header) if gpus else None
    if accelerate and not on:
        raise ValueError("--accelerate says how GPUs are used: give --gpus, too.")
    settings = {**read_recipe(path), **parse_overrides(overrides)}
    no_gpu = not torch.accelerator.is_available() and not settings.get("use_cpu")
    recipe = parse_recipe(path, [*overrides, "--use_cpu", "true"] if no_gpu else overrides, on.count if on else None)
    findings = Findings()
    find_packages(recipe, findings, elsewhere=no_gpu or on is not None)
    find_faults(recipe, findings)
    if on:
        with findings.collecting():
            check_fit(recipe, path, on, accelerate, findings)
    elif no_gpu and (recipe.training.bf16 or recipe.training.fp16):
        findings.hints.append(
            f"There is no GPU here: what needs one was not checked. --gpus {(header or Gpus(8, 80)).option} says what "
            "would fit."
        )
    return findings


def find_faults(recipe: Recipe, findings: Findings, *, data: bool = True) -> None:
    """All that can be said of a recipe on any machine.

    Args:
        recipe: to be checked.
        findings: what is found goes there.
        data: whether to look at the data, too, which takes some seconds.
    """
    tokenizer = None
    with findings.collecting():
        tokenizer = check_model(recipe, findings)
        check_cap(recipe)
    if recipe.stage == "rl":
        with findings.collecting():
            findings.facts += check_objective(recipe.training)
            check_groups(recipe)
    if recipe.stage == "dpo":
        with findings.collecting():
            check_preferences(recipe.training)
    if data:
        with findings.collecting():
            check_data(recipe, tokenizer, findings)


def check_fit(recipe: Recipe, path: str, gpus: Gpus, accelerate: str | None, findings: Findings) -> None:
    """Whether a recipe fits GPUs.

    Raises:
        ValueError: for a model whose sizes are not known, and an accelerate configuration that cannot be read.
    """
    facts = find_facts(recipe.model_name, hub_settings(recipe.training)["revision"])
    if facts is None:
        raise unknown_model(recipe.model_name)
    setup = Setup(recipe, facts, gpus, find_launch(gpus, path, accelerate))
    report_fit(setup, Gpus.of_header(Path(path).read_text(errors="replace")), findings)
