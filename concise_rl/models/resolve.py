"""Find the model that a name means: an embedded reasoner, a folder, a GGUF file or a hub id."""

from pathlib import Path

from concise_rl.errors import unknown
from concise_rl.files import opens
from concise_rl.models.gguf import folder_of, user_cache
from concise_rl.models.smollm2 import MODELS as SMOLLM2
from concise_rl.models.smollm2 import merged_folder
from concise_rl.tasks.tiny import MODELS, SHIPPED, WEIGHTS

MERGE = (
    "{folder} holds adapters, not a model. Merge them into their base model, and take what comes of it: "
    'python -c "import peft, transformers; '
    "peft.AutoPeftModelForCausalLM.from_pretrained('{folder}').merge_and_unload().save_pretrained('{merged}'); "
    "transformers.AutoTokenizer.from_pretrained('{folder}').save_pretrained('{merged}')\""
)
"""What to say of a folder of adapters."""
READ = ("*config.json", "tokenizer.json", "*.safetensors", "*.safetensors.index.json", "*.jinja")
"""Files that transformers reads of a model's folder. It names none of them where it cannot."""


def resolve_model(name: str, *, adapters: bool = False) -> str:
    """Where `from_pretrained` finds the model called `name`; hub ids come back as they are. A GGUF file is converted
    to a folder in the user's cache, once.

    Args:
        name: a folder, a hub id, a GGUF file, an embedded reasoner or one of `smollm2:`.
        adapters: whether a folder of adapters will do, which transformers loads onto their base model.

    Raises:
        ValueError: for an unknown `tiny:` or `smollm2:` name, for a path that is not there, for a GGUF file that is
            none, for a folder without a model or with a damaged one, and for adapters where a model is wanted.
    """
    if name.startswith("tiny:"):
        return str(_resolve_tiny(name))
    if name.startswith("smollm2:"):
        return str(merged_folder(name))
    looks_like_path = name.startswith((".", "/", "~")) or name.count("/") != 1
    path = Path(name).expanduser()
    if path.is_dir():
        if not any((path / name).is_file() for name in ("config.json", "adapter_config.json", "tokenizer_config.json")):
            raise _no_model(path)
        if not adapters and (path / "adapter_config.json").is_file() and not (path / "config.json").is_file():
            raise ValueError(MERGE.format(folder=str(path), merged=f"{path}-merged"))
        for file in sorted(file for pattern in READ for file in path.glob(pattern)):
            if not opens(file):
                raise ValueError(f"{file} is damaged: fetch that model again, or train it again.")
        return str(path)
    if path.suffix == ".gguf" and path.is_file():
        return str(folder_of(path))
    if looks_like_path or path.parent.is_dir():
        raise ValueError(
            f"No model at {name!r}: give a folder that holds config.json, a .gguf file, a hub id (org/name), or "
            f"one that ships ({', '.join((*SHIPPED, *SMOLLM2))})."
        )
    return name


def ships(name: str) -> bool:
    """Whether a name is that of a model which comes with this package."""
    return name in (*MODELS, *SMOLLM2)


def _no_model(folder: Path) -> ValueError:
    """What to say of a folder without a model. That of a training which goes on may have checkpoints."""
    saved = [path.parent for path in folder.glob("checkpoint-*/config.json")]
    last = max(saved, key=lambda path: int(path.name.rpartition("-")[2]), default=None)
    hint = ""
    if last:
        hint = f" The last checkpoint of this run is {last}."
    elif (folder / "events.jsonl").is_file():
        hint = f" This run has no checkpoint yet; `concise-rl watch {folder}` says how far it is."
    return ValueError(f"{folder} holds no model: there is no config.json in it.{hint}")


def _resolve_tiny(name: str) -> Path:
    if name not in MODELS:
        raise unknown("embedded reasoner", name, MODELS)
    if name in SHIPPED:
        return WEIGHTS / name.removeprefix("tiny:")
    from concise_rl.tasks.tiny.model import write_untrained

    return write_untrained(user_cache() / "tiny-untrained")
