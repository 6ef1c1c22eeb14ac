"""What is released: a trained model's folder, and the settings that made it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from concise_rl.files import EVENTS_FILE, MARKER, SETTINGS_FILE, read_lines, read_object
from concise_rl.models.resolve import resolve_model
from concise_rl.models.smollm2 import HUB_ID
from concise_rl.recipe.parse import read_recipe
from concise_rl.train.card import is_hub_id
from concise_rl.train.folder import is_bookkeeping

_STATE = "trainer_state.json"


@dataclass(frozen=True)
class Source:
    """A trained model.

    Attributes:
        folder: holds it.
        settings: what its training was, by the keys of its recipe.
        step: how many steps it has been trained; None where the folder does not say.
        started: what the run said of itself when it began: processes and versions. Empty where it left no events.
    """

    folder: Path
    settings: Mapping[str, Any]
    step: int | None = None
    started: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_adapter(self) -> bool:
        """Say whether the folder holds adapters, and no model."""
        return (self.folder / "adapter_config.json").is_file()

    @property
    def base(self) -> str:
        """Return what was trained, as the recipe names it."""
        return str(self.settings["model_name_or_path"])

    @property
    def stage(self) -> str:
        """Return the kind of training, a key of `STAGES`."""
        return str(self.settings.get("stage", "rl"))

    @property
    def base_folder(self) -> str:
        """Return where `from_pretrained` finds what was trained: where it lay then, if it is still there."""
        config = self.folder / "adapter_config.json"
        then = read_object(config)["base_model_name_or_path"] if config.is_file() else ""
        return then if Path(then).is_absolute() and Path(then).is_dir() else resolve_model(self.base)

    def hub_base(self, named: str | None) -> str | None:
        """Return the hub id of what was trained: the one that is named, else the recipe's; None without one."""
        if self.base.startswith("smollm2:"):
            return named or HUB_ID
        return named or (self.base if is_hub_id(self.base) else None)


def read_source(folder: Path, recipe: Path | None = None) -> Source:
    """Read the folder of a run, of one of its checkpoints, or, with a recipe, of a model whose run is gone.

    Raises:
        ValueError: when it is none of them, or is not whole.
    """
    if recipe:
        return _with_recipe(folder, recipe)
    run = next((one for one in (folder, folder.parent) if (one / SETTINGS_FILE).is_file()), None)
    if run is None:
        raise ValueError(
            f"{folder} is not the folder of a training: there is no {SETTINGS_FILE} in it. Give the output_dir of "
            "`concise-rl train`, one of its checkpoints, or the recipe that made this model (--recipe)."
        )
    if not (folder / MARKER).is_file():
        raise _not_whole(folder, run)
    events = [line for line in read_lines(run / EVENTS_FILE) if line.get("event") == "started"]
    settings = read_object(run / SETTINGS_FILE)
    return Source(folder, settings, _steps(folder), events[-1] if events else {})


def _with_recipe(folder: Path, recipe: Path) -> Source:
    """
    Raises:
        ValueError: for a folder that has a recipe, or holds no model, and for a recipe without a model.
    """
    if (folder / SETTINGS_FILE).is_file():
        raise ValueError(f"{folder} has kept what its training was: leave out --recipe.")
    if not any((folder / name).is_file() for name in ("config.json", "adapter_config.json")):
        raise ValueError(f"{folder} holds no model: there is no config.json in it.")
    settings = {key: value for key, value in read_recipe(recipe).items() if not is_bookkeeping(key)}
    if "model_name_or_path" not in settings:
        raise ValueError(f"{recipe} does not say what was trained: add `model_name_or_path: ...`.")
    return Source(folder, settings, _steps(folder))


def _not_whole(folder: Path, run: Path) -> ValueError:
    if folder != run:
        return ValueError(f"{folder} is no complete checkpoint: there is no {MARKER} in it. Give another one.")
    whole = [path.parent for path in folder.glob(f"checkpoint-*/{MARKER}")]
    last = max(whole, key=lambda path: int(path.name.rpartition("-")[2]), default=None)
    instead = f" Or release its last checkpoint, {last}." if last else ""
    return ValueError(
        f"The training in {folder} has not ended: there is no {MARKER} in it. Give the command of the training "
        f"again, and it goes on.{instead}"
    )


def _steps(folder: Path) -> int | None:
    state = folder / _STATE
    return read_object(state)["global_step"] if state.is_file() else None
