"""The facts of a model that decide whether it fits: read from its config.json, or from those of well-known models."""

import functools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import try_to_load_from_cache
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedConfig

from concise_rl.models.context import context_length
from concise_rl.models.resolve import resolve_model

KNOWN = Path(__file__).parent / "known_models.json"
UNBOUNDED = 2**31
"""Tokens of a context that knows no limit."""


@dataclass(frozen=True)
class Shape:
    """Sizes of a decoder.

    Attributes:
        parameters: all of them; a tied head counts once.
        of_layer: parameters of one layer.
        layers, hidden, intermediate: L, h and i.
        heads, kv_heads, head_dim: of queries, and of keys and values.
        vocabulary: V, rows of the embedding.
        tied: whether head and embedding are one.
    """

    parameters: int
    of_layer: int
    layers: int
    hidden: int
    intermediate: int
    heads: int
    kv_heads: int
    head_dim: int
    vocabulary: int
    tied: bool

    @property
    def key_bytes(self) -> int:
        """Bytes that the keys and values of one token take, in two bytes each."""
        return 4 * self.layers * self.kv_heads * self.head_dim


@dataclass(frozen=True)
class Facts:
    """What is known of a model.

    Attributes:
        config: its configuration.
        source: where it was read, in words.
    """

    config: PreTrainedConfig
    source: str

    @property
    def context(self) -> int:
        """The most tokens that the model is made for."""
        return context_length(self.config) or UNBOUNDED


@dataclass(frozen=True)
class Habit:
    """How many tokens a model is known to use.

    Attributes:
        tokens: of a response, on average.
        on: of which problems.
        source: who has measured it.
    """

    tokens: int
    on: str
    source: str


@functools.cache
def _known() -> dict[str, dict[str, Any]]:
    return {name: entry for entry in json.loads(KNOWN.read_text()) for name in entry["models"]}


def find_facts(name: str, revision: str | None = None) -> Facts | None:
    """A model's configuration, without a look at the hub: a folder's, the hub cache's, or that of `known_models.json`.

    Args:
        name: as a recipe names it.
        revision: of the hub repository.

    Returns:
        None where it is in none of these.

    Raises:
        ValueError: as `resolve_model` does.
    """
    path = resolve_model(name)
    if Path(path).is_dir():
        return Facts(AutoConfig.from_pretrained(path), "from its folder")
    cached = try_to_load_from_cache(name, "config.json", revision=revision)
    if isinstance(cached, str):
        return Facts(AutoConfig.from_pretrained(Path(cached).parent), "from the hub's cache")
    return known_facts(name)


def known_facts(name: str) -> Facts | None:
    """The configuration of a well-known model, as far as it decides sizes."""
    if name not in _known():
        return None
    facts = dict(_known()[name]["config"])
    return Facts(AutoConfig.for_model(facts.pop("model_type"), **facts), "from known facts, not from the hub")


def habit_of(name: str) -> Habit | None:
    """How many tokens a well-known model uses, where somebody has published it."""
    thinks = _known().get(name, {}).get("thinks")
    return Habit(**thinks) if thinks else None


def on_meta(config: PreTrainedConfig) -> Any:
    """The model of a configuration, without weights."""
    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(config)


def shape_of(config: PreTrainedConfig) -> Shape:
    """The sizes of a model, its parameters counted on a model without weights."""
    text: Any = config.get_text_config()
    model = on_meta(config)
    layer = model.get_decoder().layers[0]
    heads = text.num_attention_heads
    return Shape(
        parameters=sum(p.numel() for p in model.parameters()),
        of_layer=sum(p.numel() for p in layer.parameters()),
        layers=text.num_hidden_layers,
        hidden=text.hidden_size,
        intermediate=text.intermediate_size,
        heads=heads,
        kv_heads=getattr(text, "num_key_value_heads", None) or heads,
        head_dim=getattr(text, "head_dim", None) or text.hidden_size // heads,
        vocabulary=text.vocab_size,
        tied=bool(text.tie_word_embeddings),
    )
