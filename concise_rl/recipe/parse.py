"""Recipes: YAML whose keys are the fields of the configuration classes. Command-line arguments override them."""

import dataclasses
import difflib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from datasets import Dataset
from trl import GRPOConfig, ModelConfig, TrlParser, get_quantization_config

from concise_rl.data.rows import check_prompts, load_rows, user_turn
from concise_rl.errors import unknown
from concise_rl.named import mapping
from concise_rl.recipe.bounds import check_values
from concise_rl.recipe.config import ConciseConfig
from concise_rl.recipe.settings import (
    MODEL,
    NEEDS_EVALUATION,
    NO_DATA,
    SWITCHES,
    defaults_of,
    is_default,
    refusal,
)
from concise_rl.recipe.stages import STAGES
from concise_rl.recipe.text import read_text, read_yaml
from concise_rl.recipe.typed import names_or_pattern, typed


@dataclass
class DataConfig:
    """Where the problems come from and how they are put to the model."""

    dataset: str = field(
        metadata={
            "help": "A .jsonl, .json or .parquet file, a hub id, a benchmark (concise-rl tasks lists them), NAME=FILE "
            "for a copy of one, reasoning_gym:NAME?option=value, reasoning:NAME, tiny:sums, or selected:NAME?samples="
            "FILE for samples of concise-rl eval."
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

    def __post_init__(self) -> None:
        user_turn(self.prompt_template)

    def load(self, seed: int = 0, columns: Collection[str] | None = None) -> Dataset:
        """The rows with the prompt, the answer and some of the other columns, see `load_rows` and `check_prompts`."""
        rows = load_rows(
            self.dataset,
            split=self.dataset_split,
            num_rows=self.num_rows,
            seed=seed,
            prompt_column=self.prompt_column,
            answer_column=self.answer_column,
            columns=columns,
        )
        check_prompts(rows, self.dataset, self.prompt_column)
        return rows


@dataclass(frozen=True)
class Recipe:
    """A parsed recipe.

    Attributes:
        stage: a key of `STAGES`.
        data, training, model: the configurations that its keys filled.
        settings: the keys as given, overrides included: what identifies the run.
    """

    stage: str
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


def own_keys() -> list[dataclasses.Field]:
    """The keys that are this project's: those of the data, and what `ConciseConfig` adds to TRL's or sets otherwise."""
    trl = defaults_of(GRPOConfig)
    fields, defaults = dataclasses.fields(ConciseConfig), defaults_of(ConciseConfig)
    own = [f for f in fields if f.name not in trl or defaults[f.name] != trl[f.name]]
    return [*dataclasses.fields(DataConfig), *own]


def keys_help() -> str:
    """This project's keys with their defaults and meaning, and where the others are described."""
    lines = ["keys of a recipe, on the command line as --key value:"]
    for f in own_keys():
        default = "required" if f.default is dataclasses.MISSING else yaml.safe_dump(f.default).split("\n")[0]
        lines += [f"  {f.name} ({default})", f"      {f.metadata['help']}"]
    stages = ", ".join(f"{name} for {stage.title}" for name, stage in STAGES.items())
    bases = ", ".join(f"{stage.base} for stage: {name}" for name, stage in STAGES.items())
    more = f"Every field of trl's ModelConfig is a key, too, and of the stage's own configuration ({bases})."
    return "\n".join([*lines, "  stage (rl)", f"      {stages}.", "", more])


def read_recipe(path: str | Path) -> dict[str, Any]:
    """The YAML of a recipe.

    Raises:
        ValueError: when there is no such file (naming the nearest recipe beside it), it is not YAML in UTF-8 (with the
            place), or not a mapping.
    """
    path = Path(path)
    if path.is_dir():
        raise ValueError(f"{path} is a folder: give a recipe in it.")
    if not path.is_file():
        beside = [p.name for p in path.parent.glob("[!.]*.yaml")]
        nearest = difflib.get_close_matches(path.name, beside, n=1, cutoff=0.0)
        raise ValueError(f"No recipe at {path}." + (f" Did you mean {path.parent / nearest[0]}?" if nearest else ""))
    if path.suffix in (".jsonl", ".parquet"):
        raise ValueError(f"{path} is not a recipe but data: name it as the `dataset` of one.")
    content = read_yaml(read_text(path), str(path))
    if not isinstance(content, dict):
        raise ValueError(f"{path} is not a recipe: it must be a YAML mapping of settings.")
    return {str(key): value for key, value in content.items()}


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
        _put(overrides, key[2:].split("."), _read_value(words.pop(0), key) if has_value else True)
    return overrides


def _read_value(word: str, key: str) -> Any:
    """A word as YAML, except that yes, no, on and off stay words: `--save_strategy no` means just that."""
    value = read_yaml(word, f"{key} {word}")
    return word if isinstance(value, bool) and word.lower() not in ("true", "false") else value


def _put(overrides: dict[str, Any], keys: list[str], value: Any) -> None:
    for key in keys[:-1]:
        overrides = overrides.setdefault(key, {})
        if not isinstance(overrides, dict):
            raise ValueError(f"--{'.'.join(keys)}: {key} was given before, as {overrides!r}, which holds no options.")
    overrides[keys[-1]] = value


def _merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`over` on top of `base`; mappings are merged, all else replaced."""
    merged = dict(base)
    for key, value in over.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _merge(merged[key], value) if both else value
    return merged


def parse_recipe(path: str | Path, args: list[str] | None = None, processes: int | None = None) -> Recipe:
    """Read a recipe and lay the command line over it.

    Args:
        path: the YAML file.
        args: command-line arguments, see `parse_overrides`.
        processes: for how many it is meant, if not for those that run now.

    Raises:
        ValueError: for a missing file, an unknown key (naming the nearest), a missing `dataset`, a value that is not of
            its key's type, or that the configuration refuses.
    """
    overrides = parse_overrides(args or [])
    given, dropped = _without_options_of_others(read_recipe(path), overrides)
    settings = _merge(given, overrides)
    stage = str(settings.get("stage", "rl"))
    if stage not in STAGES:
        raise unknown("stage", stage, STAGES)
    classes: Any = (DataConfig, _on(STAGES[stage].config, processes), ModelConfig)
    values = {key: value for key, value in settings.items() if key != "stage"}
    _check_keys(values, overrides, path, classes)
    defaults = {name: default for cls in classes for name, default in defaults_of(cls).items()}
    for keys in (STAGES[stage].keys, MODEL):
        if refused := refusal(keys, values, defaults, in_recipe=True):
            raise ValueError(refused)
    values = typed(values, classes)
    _check_values(values, defaults)
    parsed: Any = TrlParser(classes).parse_dict(values)
    data, training, model = parsed
    model.lora_target_modules = names_or_pattern(model.lora_target_modules)
    training.model_init_kwargs = {**_model_init_kwargs(model), **mapping(training.model_init_kwargs)}
    if dropped and training.process_index == 0:
        print(f"Left out of {path}, since the command line names another: {', '.join(dropped)}.")
    return Recipe(stage, data, training, model, settings)


def _on(training: type, processes: int | None) -> type:
    """A training's configuration as so many processes have it."""
    return training if processes is None else type(training.__name__, (training,), {"world_size": processes})


def _without_options_of_others(given: dict[str, Any], overrides: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """A recipe without the options of an objective, judge or curriculum that the command line exchanges, and which."""
    exchanged = [
        key for key in ("objective", "judge", "curriculum") if overrides.get(key, given.get(key)) != given.get(key)
    ]
    dropped = [f"{key}_options" for key in exchanged if given.get(f"{key}_options")]
    return {key: value for key, value in given.items() if key not in dropped}, dropped


def _check_keys(values: dict[str, Any], overrides: dict[str, Any], path: str | Path, classes: Any) -> None:
    """
    Raises:
        ValueError: for a key that there is not, or that is missing.
    """
    known = {f.name for cls in classes for f in dataclasses.fields(cls) if f.init}
    for key in values:
        if key not in known:
            raise _unknown_key(key, "on the command line" if key in overrides else f"in {path}", known)
    for required in ("dataset", "model_name_or_path", "output_dir"):
        if not values.get(required):
            raise ValueError(f"{path} does not say which {required} to use: add `{required}: ...`.")


def _check_values(values: dict[str, Any], defaults: dict[str, Any]) -> None:
    """
    Raises:
        ValueError: for a value that a recipe cannot have, or that would do nothing.
    """
    for key, needs in NEEDS_EVALUATION.items():
        if values.get(key) in needs:
            raise ValueError(f"{key}: {values[key]} follows an evaluation, and {NO_DATA}.")
    for switch, prefixes in SWITCHES.items():
        given = [key for key in values if key.startswith(prefixes) and not is_default(values[key], defaults[key])]
        if given and switch not in values:
            raise ValueError(f"{given[0]}: nothing reads it without {switch}. Set {switch}: true, or false to keep it.")
    check_values(values)


def _unknown_key(key: str, where: str, known: set[str]) -> ValueError:
    """What to say of a key that there is not: this project's own come first, of more than 200."""
    if key.startswith("reward"):
        return ValueError(f"Unknown key {where}: {key!r}. Rewards come from `verifier` and `objective`.")
    return unknown(f"key {where}:", key, known, [f.name for f in own_keys() if f.name in known])


def _model_init_kwargs(model: ModelConfig) -> dict[str, Any]:
    """How the model is loaded, as TRL's own scripts hand it on."""
    settings = {
        "revision": model.model_revision,
        "attn_implementation": model.attn_implementation,
        "dtype": model.dtype,
        "quantization_config": get_quantization_config(model),
    }
    return {key: value for key, value in settings.items() if value is not None}
