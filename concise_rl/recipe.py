"""Recipes: YAML whose keys are the fields of the configuration classes. Command-line arguments override them."""

import dataclasses
import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import yaml
from datasets import Dataset
from trl import ModelConfig, SFTConfig, TrlParser, get_quantization_config

from concise_rl.config import ConciseConfig
from concise_rl.data import load_rows
from concise_rl.errors import unknown


@dataclass
class DataConfig:
    """Where the problems come from and how they are put to the model."""

    dataset: str = field(
        metadata={
            "help": "A .jsonl, .json or .parquet file, a hub id, reasoning_gym:NAME?option=value, reasoning:NAME, "
            "or tiny:sums."
        }
    )
    dataset_split: str = field(default="train", metadata={"help": "Split of the data set."})
    num_rows: int | None = field(default=None, metadata={"help": "Use this many rows; all unless given."})
    prompt_column: str = field(default="prompt", metadata={"help": "Column that holds the problem."})
    answer_column: str = field(default="answer", metadata={"help": "Column that holds the gold answer."})
    prompt_template: str | None = field(
        default=None, metadata={"help": "Text of the user's turn; {prompt} stands for the problem."}
    )
    system_prompt: str | None = field(default=None, metadata={"help": "System turn before it; none unless given."})
    overwrite: bool = field(
        default=False,
        metadata={"help": "Start afresh in an output_dir that holds another run's files. They are deleted."},
    )

    def load(self, seed: int = 0) -> Dataset:
        """The rows, see `load_rows`."""
        return load_rows(
            self.dataset,
            split=self.dataset_split,
            num_rows=self.num_rows,
            seed=seed,
            prompt_column=self.prompt_column,
            answer_column=self.answer_column,
        )


@dataclass(frozen=True)
class Recipe:
    """A parsed recipe.

    Attributes:
        stage: `rl`, or `sft` for supervised fine-tuning.
        data, training, model: the configurations that its keys filled.
        settings: the keys as given, overrides included: what identifies the run.
    """

    stage: Literal["rl", "sft"]
    data: DataConfig
    training: Any
    model: ModelConfig
    settings: dict[str, Any]

    @property
    def model_name(self) -> str:
        """The model, which `parse_recipe` has made sure of."""
        assert self.model.model_name_or_path
        return self.model.model_name_or_path

    @property
    def folder(self) -> str:
        """The output folder."""
        return str(self.training.output_dir)


STAGES: dict[str, type] = {"rl": ConciseConfig, "sft": SFTConfig}


def read_recipe(path: str | Path) -> dict[str, Any]:
    """The YAML of a recipe.

    Raises:
        ValueError: when there is no such file, or it is not a mapping; names the nearest recipe beside it.
    """
    path = Path(path)
    if not path.is_file():
        nearest = difflib.get_close_matches(path.name, [p.name for p in path.parent.glob("*.yaml")], n=1, cutoff=0.0)
        raise ValueError(f"No recipe at {path}." + (f" Did you mean {path.parent / nearest[0]}?" if nearest else ""))
    content = yaml.safe_load(path.read_text())
    if not isinstance(content, dict):
        raise ValueError(f"{path} is not a recipe: it must be a YAML mapping of settings.")
    return content


def parse_overrides(args: list[str]) -> dict[str, Any]:
    """`--key value`, `--key=value` and `--flag` as a mapping; values are read as YAML. `--objective_options.alpha 1`
    nests."""
    overrides: dict[str, Any] = {}
    words = [word for arg in args for word in (arg.split("=", 1) if arg.startswith("--") else [arg])]
    while words:
        key = words.pop(0)
        if not key.startswith("--"):
            raise ValueError(f"Expected --key value, found {key!r}.")
        has_value = words and not words[0].startswith("--")
        _put(overrides, key[2:].split("."), _read_value(words.pop(0)) if has_value else True)
    return overrides


def _read_value(word: str) -> Any:
    """A word as YAML, except that yes, no, on and off stay words: `--save_strategy no` means just that."""
    value = yaml.safe_load(word)
    return word if isinstance(value, bool) and word.lower() not in ("true", "false") else value


def _put(mapping: dict[str, Any], keys: list[str], value: Any) -> None:
    for key in keys[:-1]:
        mapping = mapping.setdefault(key, {})
    mapping[keys[-1]] = value


def _merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`over` on top of `base`; mappings are merged, all else replaced."""
    merged = dict(base)
    for key, value in over.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _merge(merged[key], value) if both else value
    return merged


def parse_recipe(path: str | Path, args: list[str] | None = None) -> Recipe:
    """Read a recipe and lay the command line over it.

    Args:
        path: the YAML file.
        args: command-line arguments, see `parse_overrides`.

    Raises:
        ValueError: for a missing file, an unknown key (naming the nearest), a missing `dataset`, or a value that the
            configuration refuses.
    """
    settings = _merge(read_recipe(path), parse_overrides(args or []))
    stage = settings.get("stage", "rl")
    if stage not in STAGES:
        raise unknown("stage", stage, STAGES)
    classes: Any = (DataConfig, STAGES[stage], ModelConfig)
    values = {key: value for key, value in settings.items() if key != "stage"}
    known = {f.name for cls in classes for f in dataclasses.fields(cls) if f.init}
    for key in values:
        if key not in known:
            raise unknown(f"key in {path}:", key, known)
    for required in ("dataset", "model_name_or_path", "output_dir"):
        if not values.get(required):
            raise ValueError(f"{path} does not say which {required} to use: add `{required}: ...`.")
    # TRL's parser converts what YAML leaves as text (learning_rate: 1e-6) to the types of the fields.
    parsed: Any = TrlParser(classes).parse_dict(_as_typed(values, classes))
    data, training, model = parsed
    training.model_init_kwargs = {**_model_init_kwargs(model), **(training.model_init_kwargs or {})}
    return Recipe(stage, data, training, model, settings)


def _model_init_kwargs(model: ModelConfig) -> dict[str, Any]:
    """How the model is loaded, as TRL's own scripts hand it on."""
    settings = {
        "revision": model.model_revision,
        "attn_implementation": model.attn_implementation,
        "dtype": model.dtype,
        "quantization_config": get_quantization_config(model),
    }
    return {key: value for key, value in settings.items() if value is not None}


def _as_typed(values: dict[str, Any], classes: Any) -> dict[str, Any]:
    """YAML 1.1 reads 1e-6 as text; give float fields floats."""
    floats = {f.name for cls in classes for f in dataclasses.fields(cls) if f.type in (float, "float", float | None)}
    return {k: float(v) if k in floats and isinstance(v, str) else v for k, v in values.items()}
