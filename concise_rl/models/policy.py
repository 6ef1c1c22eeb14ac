"""Where the policy comes from: its repository's revision and code, its class, its tokenizer."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import transformers
from transformers import AutoConfig, AutoModelForCausalLM, AutoProcessor, PreTrainedModel
from trl import GRPOConfig
from trl.trainer.utils import get_config_model_id

from concise_rl.models.eos import complete, eos_ids, eos_ids_of
from concise_rl.named import mapping


def hub_settings(args: GRPOConfig) -> dict[str, Any]:
    """Which revision of the model's repository is meant, and whether code that comes with it may run."""
    loading = mapping(args.model_init_kwargs)
    trusted = bool(loading.get("trust_remote_code", args.trust_remote_code))
    return {"revision": loading.get("revision"), "trust_remote_code": trusted}


def training_processor(model: str | PreTrainedModel, processor: Any, args: GRPOConfig) -> Any:
    """The tokenizer, or processor, that a trainer is handed, or else the model's own as TRL loads it; complete.

    Args:
        model: folder, hub id, or a model.
        processor: None for the model's own.
        args: says which revision, and whether its code may run.

    Raises:
        ValueError: when nothing names an EOS token.
    """
    settings = hub_settings(args)
    if processor is None:
        name = model if isinstance(model, str) else get_config_model_id(model.config)
        processor = AutoProcessor.from_pretrained(name, truncation_side="left", padding_side="left", **settings)
    tokenizer = getattr(processor, "tokenizer", processor)
    ids = eos_ids_of(model, tokenizer, **settings) if isinstance(model, str) else eos_ids(model, tokenizer)
    complete(tokenizer, ids)
    return processor


@contextmanager
def class_of_revision(model: str | PreTrainedModel, args: GRPOConfig) -> Generator[None]:
    """Tell TRL the class of a model of another revision than `main`: TRL 1.16 reads it from `main`, which need not be
    on this machine."""
    settings, given = hub_settings(args), args.model_init_kwargs
    if isinstance(model, str) and settings["revision"] not in (None, "main"):
        config = AutoConfig.from_pretrained(model, **settings)
        named = getattr(transformers, (config.architectures or [""])[0], AutoModelForCausalLM)
        args.model_init_kwargs = mapping(given) | {"architecture": named}
    try:
        yield
    finally:
        args.model_init_kwargs = given
