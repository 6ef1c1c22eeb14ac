"""Write the weights that are released: those of a run as they are, adapters alone, or adapters merged."""

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from concise_rl.evaluate.release.source import Source
from concise_rl.evaluate.release.wanted import Wanted
from concise_rl.files import MARKER, open_up, opens
from concise_rl.models.eos import load_tokenizer
from concise_rl.models.resolve import ships
from concise_rl.train.card import is_hub_id

OF_WEIGHTS = (
    "config.json",
    "generation_config.json",
    "adapter_config.json",
    "*.safetensors",
    "*.safetensors.index.json",
)
"""Files that make a model. The rest of a run's folder is its training's: its state, its metrics, its checkpoints."""
OF_TEXT = (
    *("tokenizer*", "special_tokens_map.json", "added_tokens.json", "vocab.*", "merges.txt", "*.model"),
    *("chat_template*", "*processor_config.json"),
)
"""Files that turn text into tokens, and back."""
TOKENIZERS = ("tokenizer.json", "tokenizer.model", "spiece.model", "vocab.json", "vocab.txt")
"""One of them is there, whatever the tokenizer."""
MERGED_WITHIN = {torch.float32: 1e-4, torch.bfloat16: 5e-2, torch.float16: 1e-2}
"""How far logits of merged weights may be from those of the adapters beside their base, as a share of the largest. The
product of the two small matrices is rounded once where it was rounded in each layer before."""
_ADAPTERS = "adapter_model.safetensors"
_PROBE = "What is 17 * 23? Think step by step."


def write_weights(source: Source, out: Path, wanted: Wanted) -> None:
    """Write what `from_pretrained` needs into a folder.

    Args:
        source: the run.
        out: an empty folder.
        wanted: says whether adapters stay adapters, on which base and rounded to what.

    Raises:
        ValueError: for a model that is not whole, adapters of a base that nobody else has, options that need adapters,
            and when merging changes what the model says.
    """
    demand_whole(source.folder)
    if wanted.adapter_alone and not source.is_adapter:
        raise ValueError(f"{source.folder} holds a whole model, and no adapters: leave out --adapter.")
    if wanted.dtype and not wanted.adapter_alone:
        raise ValueError("--dtype is of adapters that are released alone: give --adapter, or leave it out.")
    if wanted.adapter_alone:
        # The base of adapters that ship does so too, or is a package: its tokenizer is there.
        _copy(source.folder, out, OF_WEIGHTS if wanted.ships else (*OF_WEIGHTS, *OF_TEXT))
        _name_base(out / "adapter_config.json", wanted.base_model or source.base, wanted.ships)
        _round(out / _ADAPTERS, wanted.dtype)
    elif source.is_adapter:
        write_merged(source, source.folder, out)
    else:
        _copy(source.folder, out, (*OF_WEIGHTS, *OF_TEXT))
        _name_every_end(out)
    open_up(out)


def _copy(folder: Path, out: Path, patterns: tuple[str, ...]) -> None:
    for pattern in patterns:
        for path in folder.glob(pattern):
            shutil.copyfile(path, out / path.name)
    if not list(out.glob("*.safetensors")):
        raise ValueError(f"{folder} holds no *.safetensors: save the model with transformers 5 again.")
    _forget_machine(out / "tokenizer_config.json")


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
    for path in sorted({path for pattern in (*OF_WEIGHTS, *OF_TEXT) for path in folder.glob(pattern)}):
        if not opens(path):
            raise ValueError(f"{path} is damaged. {again}")
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, framework="pt") as file:
            if not all(torch.isfinite(file.get_tensor(name)).all() for name in file.keys()):  # noqa: SIM118 (no mapping)
                raise ValueError(f"{path} holds weights that are not finite: this model says nothing.")


def write_merged(source: Source, adapters: Path, out: Path) -> None:
    """Merge a run's adapters into their base, and hold the result against them.

    Args:
        source: the run, whose tokenizer and base are taken.
        adapters: folder of the adapters, as the run left them or rounded.
        out: where the whole model goes.

    Raises:
        ValueError: when merging changes what the model says.
    """
    tokenizer: Any = AutoTokenizer.from_pretrained(str(source.folder))
    adapted = load(adapters, source.base_folder)
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
    _name_every_end(out)
    _forget_machine(out / "tokenizer_config.json")


def _name_base(path: Path, name: str, shipped: bool) -> None:
    """Make adapters name a base that others can load: one of the hub or, for adapters that ship, one that ships."""
    if not is_hub_id(name) and not (shipped and ships(name)):
        raise ValueError(
            f"The adapters' base has no hub id ({name}): give --base-model ORG/NAME, or leave out --adapter, and they "
            "are merged into it."
        )
    config = json.loads(path.read_text()) | {"base_model_name_or_path": name}
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")


def _round(path: Path, dtype: str | None) -> None:
    """Round adapters to 16 bits, half of what training keeps."""
    if dtype:
        save_file({name: tensor.to(getattr(torch, dtype)) for name, tensor in load_file(path).items()}, path)


def _name_every_end(out: Path) -> None:
    """Make the generation config name all tokens that end a completion: the tokenizer's own may be in no list."""
    _, ids = load_tokenizer(str(out))
    known = out / "generation_config.json"
    config: Any = GenerationConfig.from_pretrained(str(out)) if known.is_file() else GenerationConfig()
    named = config.eos_token_id if isinstance(config.eos_token_id, list) else [config.eos_token_id]
    if {*named} != {*ids} or not known.is_file():  # else the file stays as it is, to the byte
        config.eos_token_id = ids if len(ids) > 1 else ids[0]
        config.save_pretrained(out)


def _forget_machine(path: Path) -> None:
    """Take out of a tokenizer's settings that no hub could be reached: others would not reach it either."""
    if path.is_file():
        path.write_text(path.read_text().replace('"local_files_only": true', '"local_files_only": false'))


def load(folder: Path, base: str, dtype: str | None = None) -> Any:
    """Load a model, or adapters on their base, to compare with what was released.

    Args:
        folder: of the model, or of adapters.
        base: where the adapters' base is on this machine, whatever their configuration calls it.
        dtype: that adapters are rounded to.
    """
    if not (folder / "adapter_config.json").is_file():
        return AutoModelForCausalLM.from_pretrained(str(folder)).eval()
    from peft import PeftModel

    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), str(folder)).eval()
    if dtype:
        for name, weight in model.named_parameters():
            if "lora_" in name:
                weight.data = weight.data.to(getattr(torch, dtype)).to(weight.dtype)
    return model
