"""Keep `sweep.json`: what a sweep trains, how it measures, and how far each run is."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from concise_rl.errors import in_a_line
from concise_rl.evaluate.spec import MANIFEST, Measurement, read_manifest
from concise_rl.files import SETTINGS_FILE, write_atomically
from concise_rl.sweep.lock import LOCK
from concise_rl.sweep.plan import Run

FILE = "sweep.json"


class Method(BaseModel):
    """A recipe of the sweep.

    Attributes:
        path: its file.
        hash: of its settings, those of the command line included, without the seed.
        settings: these.
    """

    model_config = ConfigDict(frozen=True)

    path: str
    hash: str
    settings: dict[str, Any]


class State(BaseModel):
    """Say how far a run is.

    Attributes:
        status: trained and failed are for good, until the same sweep is started again.
        error: the last line of a run that failed.
        seconds_per_step: as last measured; None where it was not.
        job: its number on a cluster; None where it has none.
    """

    label: str
    seed: int
    status: Literal["waiting", "running", "trained", "failed"] = "waiting"
    error: str | None = None
    seconds_per_step: float | None = None
    job: str | None = None


class Record(BaseModel):
    """The content of `sweep.json`.

    Attributes:
        recipes: by their labels.
        overrides: settings of the command line for all recipes.
        commands: that have made the sweep, each once, in the order in which they were first given.
        measurement: how the runs are measured.
        runs: by the names of their folders.
    """

    recipes: dict[str, Method] = Field(default_factory=dict)
    overrides: list[str] = Field(default_factory=list)
    commands: list[str] = Field(default_factory=list)
    measurement: Measurement | None = None
    runs: dict[str, State] = Field(default_factory=dict)

    def write(self, out: Path) -> None:
        """Write it into the sweep's folder."""
        write_atomically(out / FILE, self.model_dump_json(indent=2) + "\n")


def read_record(out: Path) -> Record:
    """Read `sweep.json`; an empty one where the folder is new, or holds only runs.

    Raises:
        ValueError: when the folder holds something else, or the file cannot be read.
    """
    if (out / FILE).is_file():
        try:
            return Record.model_validate_json((out / FILE).read_bytes())
        except ValidationError as error:
            raise ValueError(f"{out / FILE} cannot be read ({in_a_line(error)}): delete it, the runs stay.") from error
    if out.exists() and not out.is_dir():
        raise ValueError(f"{out} is not a folder: give another --out.")
    foreign = [name for name in (SETTINGS_FILE, MANIFEST, "config.json") if (out / name).exists()]
    used = out.is_dir() and any(path.name != LOCK for path in out.iterdir())
    if foreign or (used and not (out / "runs").is_dir()):
        raise ValueError(f"{out} is not empty and no sweep's folder: give another --out.")
    return Record()


def merge(record: Record, runs: Sequence[Run], measurement: Measurement, out: Path, command: str = "") -> Record:
    """Put the runs of a command into a sweep's record. More recipes and seeds are fine.

    Raises:
        ValueError: when a recipe has changed, or the sweep was measured otherwise, naming what differs.
    """
    for run in runs:
        if run.label in record.recipes:
            _check_same(record.recipes[run.label], run, out)
    _check_measurement(measurement, out)
    recipes = {run.label: Method(path=str(run.path), hash=digest(run.settings), settings=run.settings) for run in runs}
    states = {run.name: record.runs.get(run.name, State(label=run.label, seed=run.seed)) for run in runs}
    waiting = {name: state.model_copy(update={"status": "waiting", "error": None}) for name, state in states.items()}
    return Record(
        recipes={**record.recipes, **recipes},
        overrides=list(runs[0].words),
        commands=list(dict.fromkeys([*record.commands, *([command] if command else [])])),
        measurement=measurement,
        runs={**record.runs, **waiting},
    )


def digest(settings: dict[str, Any]) -> str:
    """Hash settings."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode()).hexdigest()[:12]


def _check_same(before: Method, run: Run, out: Path) -> None:
    if before.hash == digest(run.settings):
        return
    there, now = before.settings, json.loads(json.dumps(run.settings, default=str))
    keys = [key for key in sorted({*there, *now}) if there.get(key) != now.get(key)]
    listed = "; ".join(f"{key}: {there.get(key)!r} there, {now.get(key)!r} now" for key in keys)
    raise ValueError(f"{out} holds another {run.label} ({listed}). Give another --out, or the recipe another name.")


def _check_measurement(wanted: Measurement, out: Path) -> None:
    folder = out / "eval"
    if not (folder / MANIFEST).is_file():
        return
    found = read_manifest(folder).measurement
    names = found.differing_fields(wanted)
    differing = [f"{name}: {getattr(found, name)!r} there, {getattr(wanted, name)!r} now" for name in names]
    if differing:
        raise ValueError(
            f"{out} was measured otherwise ({'; '.join(differing)}). Give these options as before, or delete {folder} "
            "to measure all runs again."
        )
