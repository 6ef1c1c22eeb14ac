"""How long a sequence a model takes."""

from typing import Any

SCALES = ("linear", "dynamic", "yarn")
"""Kinds of rotary scaling with which a context may be longer than `max_position_embeddings` says."""


def context_length(config: Any) -> int | None:
    """The most tokens that a model can attend to; None where its configuration knows no limit.

    Where positions are scaled for a longer context, its configuration gives the length before or after: the longer
    reading counts. Parameters for each kind of layer (Gemma 3) go with a length that is scaled already.
    """
    text = config.get_text_config()
    most = getattr(text, "max_position_embeddings", None)
    rope = getattr(text, "rope_parameters", None) or {}
    if most is None or rope.get("rope_type") not in SCALES:
        return most
    before = rope.get("original_max_position_embeddings") or most
    return max(most, int(before * (rope.get("factor") or 1)))
