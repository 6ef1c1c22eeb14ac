"""What turns a transformers model into a plain sampler of its own distribution, and how far it reaches."""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any

from transformers import GenerationConfig, PretrainedConfig

from concise_rl.models.context import context_length
from concise_rl.rollout.engine import Request


@contextmanager
def sampler(model: Any) -> Generator[None]:
    """Let a model generate as the policy that it is: without dropout, LoRA's for one, and with no generation settings
    but those of the call. transformers 5.17 fills what a call leaves open from the model's own, which may bar tokens,
    force them, or search by beams. EOS and padding tokens are for the call to name.

    Args:
        model: of transformers or PEFT; as it was before, afterwards.
    """
    modes = [(module, module.training) for module in model.modules()]
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    holders = {id(each): each for each in (model, base) if "generation_config" in vars(each)}.values()
    configs = [(each, each.generation_config) for each in holders]
    try:
        model.eval()
        for each, _ in configs:
            each.generation_config = GenerationConfig()
        yield
    finally:
        for module, training in modes:
            module.training = training
        for each, config in configs:
            each.generation_config = config


def check_context(requests: Sequence[Request], config: PretrainedConfig) -> None:
    """
    Raises:
        ValueError: when a prompt and its completion might not fit in the model's context.
    """
    most = context_length(config)
    longest = max((request.most_tokens for request in requests), default=0)
    if most is not None and longest > most:
        raise ValueError(
            f"A prompt and its completion may take {longest} tokens, and the model has a context of {most}: lower the "
            f"cap on completion tokens (in a recipe max_completion_length) by {longest - most}, or leave out the "
            "longest prompts."
        )


def check_layers(layers: Sequence[int], config: PretrainedConfig) -> None:
    """
    Raises:
        ValueError: when a model does not have these layers.
    """
    most = config.get_text_config().num_hidden_layers
    if wrong := [layer for layer in layers if not -most - 1 <= layer <= most]:
        raise ValueError(f"The model has layers 0 (the embedding) to {most}, and no layer {wrong[0]}.")
