"""What a model's page says of how it was made: read from the recipe, and from what the run left of itself."""

from collections.abc import Mapping
from typing import Any

from trl import ModelConfig

from concise_rl.evaluate.release.source import Source
from concise_rl.methods import Objective
from concise_rl.models.resolve import ships
from concise_rl.named import mapping
from concise_rl.recipe.parse import DataConfig
from concise_rl.recipe.settings import defaults_of
from concise_rl.recipe.stages import STAGES
from concise_rl.train.card import TRL_BIBTEX, bullets, data_link, is_hub_id, method_name, method_text, paper_link


def objective_of(source: Source) -> Objective | None:
    """Return the method of a run of reinforcement learning; None for other stages."""
    from reward import build_objective

    if source.stage != "rl":
        return None
    values = _values(source)
    return build_objective(values["objective"], mapping(values["objective_options"]), values["scale_rewards"])


def origin(source: Source, base_model: str | None, adapter_alone: bool) -> str:
    """Say in a sentence what was trained, and how.

    Args:
        source: the run.
        base_model: hub id that its base has by the user's word; None for the recipe's.
        adapter_alone: whether adapters are released.
    """
    base, method = _base_link(base_model or source.base), objective_of(source)
    by_method = f" and its method `{method_name(method)}`" if method else ""
    by = f"{STAGES[source.stage].title} with concise_rl{by_method}"
    if adapter_alone:
        return f"Adapters for {base}, made by {by}."
    merged = " What was trained are adapters, and they are merged." if source.is_adapter else ""
    return f"Fine-tuned from {base}, by {by}.{merged}"


def _base_link(name: str) -> str:
    if ships(name):
        return f"`{name}`, which ships with concise_rl"
    return f"[{name}](https://huggingface.co/{name})" if is_hub_id(name) else "a local model, which has no hub id"


def method_section(source: Source) -> str:
    """Describe the method and its options; nothing for stages without one."""
    method = objective_of(source)
    return f"## Method\n\n{method_text(method)}\n\n" if method else ""


def training_section(source: Source) -> str:
    """List the settings that matter, with their defaults, and the versions where the run has said them."""
    versions = ", ".join(f"{name} {number}" for name, number in source.started.get("versions", {}).items())
    said = f"\n\nVersions: {versions}." if versions else ""
    settings = {name: value for name, value in _settings(source, _values(source)).items() if value}
    return f"## Training\n\n{bullets(settings)}{said}\n\n"


def _values(source: Source) -> dict[str, Any]:
    """Return the settings of a run, and the defaults of those that its recipe leaves out."""
    classes = (DataConfig, STAGES[source.stage].config, ModelConfig)
    return {name: value for cls in classes for name, value in defaults_of(cls).items()} | dict(source.settings)


def _settings(source: Source, values: Mapping[str, Any]) -> dict[str, str]:
    of_rl = source.stage == "rl"
    return {
        "data set": data_link(values["dataset"]),
        "verifier": f"`{values['verifier']}`" if of_rl else "",
        "steps": _steps(source, values),
        "rollouts a step" if of_rl else "rows a step": _rows(source, values),
        "cap on a completion": f"{values['max_completion_length']} tokens" if of_rl else "",
        "temperature": f"{float(values['temperature']):g}" if of_rl else "",
        "learning rate": f"{float(values['learning_rate']):g}, {values['lr_scheduler_type']}",
        "loss": f"{values['loss_type']}, with a KL coefficient of {float(values['beta']):g}" if of_rl else "",
        "curriculum": f"`{values['curriculum']}`" if values.get("curriculum") else "",
        "judge": f"`{values['judge']}`" if values.get("judge") else "",
        "adapters": f"LoRA of rank {values['lora_r']}" if values["use_peft"] else "",
        "seed": str(values["seed"]),
    }


def _steps(source: Source, values: Mapping[str, Any]) -> str:
    wanted = int(values["max_steps"])
    if source.step is None:
        return str(wanted) if wanted > 0 else ""
    return f"{source.step} of {wanted}" if source.step < wanted else str(source.step)


def _rows(source: Source, values: Mapping[str, Any]) -> str:
    """Return how many rows a step has, where the run has said how many processes it had; else those of a process."""
    rows = int(values["per_device_train_batch_size"]) * int(values["gradient_accumulation_steps"])
    groups = f", in groups of {values['num_generations']}" if source.stage == "rl" else ""
    if processes := source.started.get("processes"):
        return f"{rows * processes}{groups}"
    return f"{rows} in each process{groups}"


def citations(source: Source) -> str:
    """Name the method's paper, and TRL."""
    method = objective_of(source)
    paper = f"The method: {paper_link(method)}. " if method else ""
    return f"## Citations\n\n{paper}The trainer is built on TRL:\n\n{TRL_BIBTEX}"
