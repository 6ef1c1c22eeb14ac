"""What is released: the folder of a finished training, and what its report says about these very weights."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from concise_rl.evaluate.release.numbers import Measured
from concise_rl.evaluate.spec import fingerprint
from concise_rl.files import MARKER, SETTINGS_FILE, read_object


@dataclass(frozen=True)
class Source:
    """A finished training.

    Attributes:
        folder: holds the trained model.
        settings: what the run was, by the keys of its recipe.
    """

    folder: Path
    settings: Mapping[str, Any]

    @property
    def is_adapter(self) -> bool:
        """Say whether the folder holds adapters, and no model."""
        return (self.folder / "adapter_config.json").is_file()

    @property
    def base(self) -> str:
        """Return what was trained, as the recipe names it."""
        return str(self.settings["model_name_or_path"])


def read_source(folder: Path) -> Source:
    """Read a run's folder.

    Raises:
        ValueError: when it is none, or its training has not ended.
    """
    if not (folder / SETTINGS_FILE).is_file():
        raise ValueError(
            f"{folder} is not the folder of a training: there is no {SETTINGS_FILE} in it. Give the output_dir of "
            "`concise-rl train`."
        )
    if not (folder / MARKER).is_file():
        raise ValueError(
            f"The training in {folder} has not ended: there is no {MARKER} in it. Give the command of the training "
            "again, and it goes on."
        )
    return Source(folder, read_object(folder / SETTINGS_FILE))


def find_measured(report_folder: Path, weights: list[Path], name: str, base_name: str) -> Measured:
    """Find what a report says about these weights.

    Args:
        report_folder: that `concise-rl eval` wrote.
        weights: folders that hold the same model: as it was trained, and merged say.
        name, base_name: what the page calls the model and its baseline.

    Raises:
        ValueError: when there is no report, or it is one about other weights.
    """
    path = report_folder / "report.json"
    if not path.is_file():
        raise ValueError(f"There is no report.json in {report_folder}: give the folder that `concise-rl eval` wrote.")
    report = read_object(path)
    if "methods" not in report:
        raise ValueError(f"{path} is the report of several tasks: give the folder of one of them.")
    prints = {fingerprint(str(folder)) for folder in weights}
    for entry in report["methods"]:
        for seed in entry["seeds"]:
            if seed["fingerprint"] in prints:
                return Measured(name, base_name, seed, report["baseline"], report)
    measured = ", ".join(sorted({seed["model"] for entry in report["methods"] for seed in entry["seeds"]}))
    raise ValueError(
        f"The report in {report_folder} is about other weights ({measured}), not those in {weights[0]}. Measure them: "
        f"concise-rl eval --model {weights[0]} --baseline BASE --task {report['measurement']['task']}"
    )
