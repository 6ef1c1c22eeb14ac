"""Write the weights that are released: those of a run as they are, adapters alone, or adapters merged."""

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from concise_rl.evaluate.release.source import Source
from concise_rl.files import MARKER, open_up, opens
from concise_rl.models.eos import load_tokenizer
from concise_rl.train.card import is_hub_id

OF_A_MODEL = (
    *("config.json", "generation_config.json", "adapter_config.json", "*.safetensors", "*.safetensors.index.json"),
    *("tokenizer*", "special_tokens_map.json", "added_tokens.json", "vocab.*", "merges.txt", "*.model"),
    *("chat_template*", "*processor_config.json"),
)
"""Files that make a model. The rest of a run's folder is its training's: its state, its metrics, its checkpoints."""
TOKENIZERS = ("tokenizer.json", "tokenizer.model", "spiece.model", "vocab.json", "vocab.txt")
"""One of them is there, whatever the tokenizer."""
MERGED_WITHIN = {torch.float32: 1e-4, torch.bfloat16: 5e-2, torch.float16: 1e-2}
"""How far logits of merged weights may be from those of the adapters beside their base, as a share of the largest. The
product of the two small matrices is rounded once where it was rounded in each layer before."""
_PROBE = "What is 17 * 23? Think step by step."


def write_weights(source: Source, out: Path, adapter_alone: bool, base_model: str | None) -> None:
    """Write what `from_pretrained` needs into a folder.

    Args:
        source: the run.
        out: an empty folder.
        adapter_alone: whether adapters stay adapters; else they are merged into their base.
        base_model: hub id of the base, where the run knows it by a folder alone.

    Raises:
        ValueError: for a model that is not whole, adapters of a base that has no hub id, and when merging changes what
            the model says.
    """
    demand_whole(source.folder)
    if source.is_adapter and not adapter_alone:
        _merge(source.folder, out)
    elif adapter_alone and not source.is_adapter:
        raise ValueError(f"{source.folder} holds a whole model, and no adapters: leave out --adapter.")
    else:
        for pattern in OF_A_MODEL:
            for path in source.folder.glob(pattern):
                shutil.copyfile(path, out / path.name)
        if not list(out.glob("*.safetensors")):
            raise ValueError(f"{source.folder} holds no *.safetensors: save the model with transformers 5 again.")
    if adapter_alone:
        _name_base(out / "adapter_config.json", base_model)
    else:
        _name_every_end(out)
    open_up(out)


def demand_whole(folder: Path) -> None:
    """
    Raises:
        ValueError: when a file of the model is missing or damaged, or weights are not finite.
    """
    needed = {"config": ("config.json", "adapter_config.json"), "tokenizer": TOKENIZERS}
    gone = [what for what, names in needed.items() if not any((folder / name).is_file() for name in names)]
    again = f"Delete {MARKER} there and give the command of the training again: it goes on from its last checkpoint."
    if gone:
        raise ValueError(f"{folder} lacks the model's {' and '.join(gone)}. {again}")
    for path in sorted({path for pattern in OF_A_MODEL for path in folder.glob(pattern)}):
        if not opens(path):
            raise ValueError(f"{path} is damaged. {again}")
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, framework="pt") as file:
            if not all(torch.isfinite(file.get_tensor(name)).all() for name in file.keys()):  # noqa: SIM118 (no mapping)
                raise ValueError(f"{path} holds weights that are not finite: this model says nothing.")


def _merge(folder: Path, out: Path) -> None:
    """Merge adapters into their base, and hold the result against them."""
    from peft import AutoPeftModelForCausalLM

    tokenizer: Any = AutoTokenizer.from_pretrained(str(folder))
    adapted: Any = AutoPeftModelForCausalLM.from_pretrained(str(folder))
    adapted.eval()
    ids_BT = torch.tensor([tokenizer.encode(_PROBE, add_special_tokens=False)])
    with torch.no_grad():
        before_BTV = adapted(ids_BT).logits.float()
        merged = adapted.merge_and_unload(safe_merge=True)
        after_BTV = merged(ids_BT).logits.float()
    distance = float((after_BTV - before_BTV).abs().max() / before_BTV.abs().max())
    allowed = MERGED_WITHIN[merged.dtype]
    if not distance <= allowed:  # so that NaN is refused as well
        raise ValueError(
            f"Merging changes the logits by {distance:.1e} of the largest, and {allowed:.0e} are allowed in "
            f"{merged.dtype}: release the adapters alone (--adapter)."
        )
    merged.save_pretrained(out)
    tokenizer.save_pretrained(out)


def _name_base(path: Path, base_model: str | None) -> None:
    """Make adapters name a base that others can load."""
    config = json.loads(path.read_text())
    name = base_model or config["base_model_name_or_path"]
    if not is_hub_id(name):
        raise ValueError(
            f"The adapters' base is a folder of this machine ({name}): give --base-model ORG/NAME, or leave out "
            "--adapter, and they are merged into it."
        )
    path.write_text(json.dumps(config | {"base_model_name_or_path": name}, indent=2) + "\n")


def _name_every_end(out: Path) -> None:
    """Make the generation config name all tokens that end a completion: the tokenizer's own may be in no list."""
    _, ids = load_tokenizer(str(out))
    known = out / "generation_config.json"
    config: Any = GenerationConfig.from_pretrained(str(out)) if known.is_file() else GenerationConfig()
    config.eos_token_id = ids if len(ids) > 1 else ids[0]
    config.save_pretrained(out)


def load(folder: Path) -> Any:
    """Load a model, or adapters on their base, to compare with what was released."""
    if (folder / "adapter_config.json").is_file():
        from peft import AutoPeftModelForCausalLM

        return AutoPeftModelForCausalLM.from_pretrained(str(folder)).eval()
    return AutoModelForCausalLM.from_pretrained(str(folder)).eval()
