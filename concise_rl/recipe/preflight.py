"""What can be known to fail before a model is loaded or data are judged. `check` and `train` both begin with it."""

import importlib.metadata
import importlib.util
from pathlib import Path
from typing import Any

import jinja2
from datasets import Dataset
from huggingface_hub import constants, try_to_load_from_cache
from packaging.version import Version
from transformers import AutoTokenizer, PreTrainedTokenizerBase
from transformers.integrations.integration_utils import INTEGRATION_TO_CALLBACK
from transformers.utils.import_utils import KERNELS_MAX_VERSION, KERNELS_MIN_VERSION

from concise_rl.data.rows import to_messages, user_turn
from concise_rl.errors import unknown
from concise_rl.models.policy import hub_settings
from concise_rl.models.resolve import resolve_model
from concise_rl.named import mapping
from concise_rl.reading.trace import Delimiters
from concise_rl.recipe.compatibility import parts_of
from concise_rl.recipe.findings import Findings
from concise_rl.recipe.fit.facts import find_facts
from concise_rl.recipe.parse import Recipe
from reward import build_objective

FLASH = {
    "flash_attention_2": "flash_attn",
    "flash_attention_3": "flash_attn_interface",
    "flash_attention_4": "flash_attn.cute",
}
"""Modules of the attentions that are no part of torch."""
PLAIN = ("sdpa", "flex_attention", "eager")
REPORTERS = {
    "wandb": ("wandb",),
    "tensorboard": ("tensorboard", "tensorboardX"),
    "trackio": ("trackio",),
    "mlflow": ("mlflow",),
    "comet_ml": ("comet_ml",),
    "clearml": ("clearml",),
    "codecarbon": ("codecarbon",),
    "dvclive": ("dvclive",),
    "neptune": ("neptune",),
    "swanlab": ("swanlab",),
    "azure_ml": ("azureml",),
    "dagshub": ("dagshub",),
    "flyte": ("flytekit",),
}
"""Modules of which `report_to` needs one."""
OPTIMIZERS = {
    "torch_4bit": "torchao",
    "torch_8bit": "torchao",
    "bnb": "bitsandbytes",
    "8bit": "bitsandbytes",
    "32bit": "bitsandbytes",
    "lion": "bitsandbytes",
    "lomo": "lomo_optim",
    "galore": "galore_torch",
    "apollo": "apollo_torch",
    "schedule_free": "schedulefree",
    "grokadamw": "grokadamw",
    "stable_adamw": "optimi",
}
"""Modules of optimizers, by a part of their names in `optim`; the first that fits counts."""


def preflight(recipe: Recipe) -> None:
    """Refuse what cannot be trained, before anything slow.

    Raises:
        ValueError: with all that was found, a line each.
    """
    findings = Findings()
    find_packages(recipe, findings)
    with findings.collecting():
        tokenizer = load_tokenizer(recipe)
        check_prompt(recipe, tokenizer)
        Delimiters.of(tokenizer, (), getattr(recipe.training, "think_end", None))
    with findings.collecting():
        check_cap(recipe)
    if recipe.stage == "rl":
        with findings.collecting():
            check_groups(recipe)
    findings.refuse()


def is_installed(module: str) -> bool:
    """Whether a module can be imported. It is not; its parents are."""
    top = module.partition(".")[0]
    return importlib.util.find_spec(top) is not None and importlib.util.find_spec(module) is not None


def find_packages(recipe: Recipe, findings: Findings, *, elsewhere: bool = False) -> None:
    """Find the packages that settings need and this machine lacks.

    Args:
        recipe: whose settings.
        findings: faults go there.
        elsewhere: whether the training is for another machine, with GPUs: then what only that one needs is a hint.
    """
    training, model = recipe.training, recipe.model
    attention = mapping(training.model_init_kwargs).get("attn_implementation")
    with findings.collecting():
        check_attention(attention)
    for name in training.report_to or ():
        with findings.collecting():
            check_reporter(name)
    optim = str(getattr(training.optim, "value", training.optim))  # transformers makes an enum of it
    optimizer = optimizer_package(optim)
    of_gpu = [
        (getattr(training, "use_vllm", False), "use_vllm: true", "vllm", "bash launch/setup.sh vllm"),
        (training.use_liger_kernel, "use_liger_kernel: true", "liger_kernel", "pip install liger-kernel"),
        (model.load_in_4bit or model.load_in_8bit, "load_in_4bit and 8bit", "bitsandbytes", "pip install bitsandbytes"),
        (optimizer, f"optim: {optim}", optimizer or "", f"pip install {optimizer}"),
        (training.deepspeed, "deepspeed", "deepspeed", 'pip install -e ".[deepspeed]"'),
    ]
    missing = [_missing(*what) for wanted, *what in of_gpu if wanted and not is_installed(what[1])]
    (findings.hints if elsewhere else findings.faults).extend(missing)


def check_reporter(name: str) -> None:
    """
    Raises:
        ValueError: for a name of `report_to` that there is not, or whose package is not installed.
    """
    if name not in INTEGRATION_TO_CALLBACK:
        raise unknown("report_to", name, INTEGRATION_TO_CALLBACK)
    if name in REPORTERS and not any(map(is_installed, REPORTERS[name])):
        raise ValueError(_missing(f"report_to: {name}", REPORTERS[name][0], f"pip install {REPORTERS[name][0]}"))


def optimizer_package(name: str) -> str | None:
    """The module of an optimizer that is no part of torch or transformers."""
    return next((module for part, module in OPTIMIZERS.items() if part in name), None)


def _missing(setting: str, package: str, how: str) -> str:
    return f"{setting} needs the package {package}, which is not installed here: {how}."


def check_attention(name: str | None) -> None:
    """
    Raises:
        ValueError: for an attention that there is not, or whose package is not installed.
    """
    if name is None or name in PLAIN:
        return
    if "/" not in name and name not in FLASH:  # a slash: a kernel of the hub
        raise unknown("attn_implementation", name, [*PLAIN, *FLASH])
    if not (name in FLASH and is_installed(FLASH[name])) and not _kernels_work():
        raise ValueError(
            f"attn_implementation: {name} needs a package that is not installed here, nor by launch/setup.sh: set "
            f"attn_implementation: sdpa (or install kernels {KERNELS_MIN_VERSION}, which loads it from the hub)."
        )


def _kernels_work() -> bool:
    """Whether transformers would take attention kernels from the hub."""
    if not is_installed("kernels"):
        return False
    return Version(KERNELS_MIN_VERSION) <= Version(importlib.metadata.version("kernels")) < Version(KERNELS_MAX_VERSION)


def local_folder(recipe: Recipe) -> Path | None:
    """Where the recipe's model, or at least its tokenizer, is on this machine: its folder, or the hub's cache.

    Raises:
        ValueError: as `resolve_model` does, and for a folder that holds no model.
    """
    path = resolve_model(recipe.model_name)
    if Path(path).is_dir():
        if not (Path(path) / "config.json").is_file():
            raise ValueError(f"{path} holds no model: there is no config.json in it.")
        return Path(path)
    cached = try_to_load_from_cache(path, "tokenizer_config.json", revision=hub_settings(recipe.training)["revision"])
    return Path(cached).parent if isinstance(cached, str) else None


def load_tokenizer(recipe: Recipe) -> PreTrainedTokenizerBase:
    """The tokenizer of the recipe's model, from the hub where it is not on this machine.

    Raises:
        ValueError: when there is none.
    """
    folder = local_folder(recipe)
    if folder is None and constants.HF_HUB_OFFLINE:
        raise ValueError(
            f"{recipe.model_name} is not in the hub's cache, and HF_HUB_OFFLINE is set: `hf download "
            f"{recipe.model_name}` where there is a network, or unset it."
        )
    try:
        tokenizer: Any = AutoTokenizer.from_pretrained(folder or recipe.model_name, **hub_settings(recipe.training))
    except OSError as error:
        said = str(error).partition("\n")[0]
        raise ValueError(f"The tokenizer of {recipe.model_name} cannot be loaded: {said}") from None
    return tokenizer


def check_prompt(recipe: Recipe, tokenizer: PreTrainedTokenizerBase, problem: str = "What is 1 + 1?") -> str:
    """Render a prompt as the model will be given it.

    Args:
        recipe: whose template, system turn and chat-template arguments are used.
        tokenizer: whose chat template is used.
        problem: what the prompt asks.

    Returns:
        The prompt, up to where the model begins.

    Raises:
        ValueError: when there is no chat template, it refuses the turns, or it closes the thinking before the model
            begins, so that no completion would hold the delimiter.
    """
    rendered = render(recipe, tokenizer, problem)
    think_end = getattr(recipe.training, "think_end", None)
    opening = rendered.rpartition(user_turn(recipe.data.prompt_template).replace("{prompt}", problem).strip())[2]
    if think_end and think_end in opening:
        raise ValueError(
            f"The chat template closes the thinking before the model begins (it ends in {opening!r}), so that no "
            f"completion would hold the delimiter {think_end!r}: let the model think (chat_template_kwargs), or set "
            "think_end: null."
        )
    return rendered


def render(recipe: Recipe, tokenizer: PreTrainedTokenizerBase, problem: str) -> str:
    """The text of a prompt.

    Raises:
        ValueError: when there is no chat template, or it refuses the turns.
    """
    training, name = recipe.training, recipe.model_name
    if tokenizer.chat_template is None:
        if getattr(training, "chat_template_path", None):  # of supervised fine-tuning, which brings one
            return problem
        raise ValueError(
            f"The tokenizer of {name} has no chat template, and prompts are chats: give the model one "
            "(chat_template.jinja in its folder), or train another, fine-tuned for chats."
        )
    chat = to_messages(Dataset.from_dict({"prompt": [problem]}), recipe.data.prompt_template, recipe.data.system_prompt)
    arguments = mapping(getattr(training, "chat_template_kwargs", None))
    try:
        return str(
            tokenizer.apply_chat_template(chat[0]["prompt"], tokenize=False, add_generation_prompt=True, **arguments)
        )
    except (jinja2.TemplateError, TypeError) as error:
        hint = "leave system_prompt out" if recipe.data.system_prompt is not None else "look at chat_template_kwargs"
        raise ValueError(f"The chat template of {name} refuses a prompt of this recipe ({error}): {hint}.") from None


def check_cap(recipe: Recipe) -> None:
    """See whether the model's context holds what the recipe asks for, where the model is known.

    Raises:
        ValueError: naming the setting to change.
    """
    training = recipe.training
    facts = find_facts(recipe.model_name, hub_settings(recipe.training)["revision"])
    if facts is None:
        return
    cap = getattr(training, "max_completion_length", None)
    limit = getattr(training, "vllm_max_model_length", None) if getattr(training, "use_vllm", False) else None
    if limit and limit > facts.context:
        raise ValueError(
            f"vllm_max_model_length is {limit}, and {recipe.model_name} has a context of {facts.context} tokens: lower "
            "it, and max_completion_length with it."
        )
    if cap and cap >= (limit or facts.context):
        whose = "vllm_max_model_length" if limit else f"the context of {recipe.model_name}"
        raise ValueError(
            f"max_completion_length is {cap}, and {whose} {limit or facts.context} tokens: no prompt fits beside it."
        )


def room_beside_cap(recipe: Recipe) -> int | None:
    """The most tokens that a prompt may have beside the cap; None where the model's context is not known."""
    training = recipe.training
    facts = find_facts(recipe.model_name, hub_settings(recipe.training)["revision"])
    limits = [facts.context] if facts else []
    if training.use_vllm and training.vllm_max_model_length:
        limits.append(training.vllm_max_model_length)
    return min(limits) - training.max_completion_length if limits else None


def check_rows(rows: int, recipe: Recipe) -> None:
    """See whether the rows make a step: a batch of rollouts takes its prompts without repetition.

    Args:
        rows: how many there are.
        recipe: parsed for as many processes as it will be trained on.

    Raises:
        ValueError: when no step could be made.
    """
    training = recipe.training
    if recipe.stage == "rl":
        needed, whose = prompts_a_step(training), "prompts that a batch of rollouts takes"
        settings = "per_device_train_batch_size or gradient_accumulation_steps"
    else:
        needed = training.per_device_train_batch_size * training.world_size if training.dataloader_drop_last else 1
        whose, settings = "rows of a batch (dataloader_drop_last)", "per_device_train_batch_size"
    if rows < needed:
        raise ValueError(
            f"The data set has {rows} rows, fewer than the {needed} {whose}: no step would be made. Use more rows "
            f"(num_rows), or lower {settings}."
        )


def check_groups(recipe: Recipe) -> None:
    """See whether groups lie whole on each process, where the method or the curriculum wants that.

    Raises:
        ValueError: when one would be torn apart; and as `build_objective` does.
    """
    config = recipe.training
    objective = build_objective(config.objective, config.options, config.scale_rewards)
    rows, group = config.per_device_train_batch_size * config.steps_per_generation, config.num_generations
    ordered = parts_of(objective, config).plan.whole_groups
    if (ordered or config.curriculum) and rows % group:
        whose = config.objective if ordered else f"curriculum {config.curriculum}"
        raise ValueError(
            f"{whose} needs whole groups of {group} on each process, which has {rows} rollouts "
            "(per_device_train_batch_size x gradient_accumulation_steps): make that a multiple."
        )


def prompts_a_step(training: Any) -> int:
    """Prompts of a batch of rollouts, over all processes."""
    return training.generation_batch_size // training.num_generations
