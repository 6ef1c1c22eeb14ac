"""How long a sequence a model takes."""

from typing import Any


def context_length(config: Any) -> int | None:
    """Most tokens of a prompt and its completion, by a model's configuration; None where it does not say."""
    text = config.get_text_config()
    most = getattr(text, "max_position_embeddings", None)
    rope = getattr(text, "rope_parameters", None) or {}
    if most is None or not rope.get("factor"):
        return most
    # YaRN and the like may be declared beside the length that the model was trained with at first.
    return max(most, int(rope["factor"] * (rope.get("original_max_position_embeddings") or most)))
