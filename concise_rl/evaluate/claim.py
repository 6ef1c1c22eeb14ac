"""Make a folder hold one measurement, and keep others out of it."""

import logging
import shutil
from pathlib import Path

from concise_rl.evaluate.spec import MANIFEST, Manifest, ModelRun, read_manifest
from concise_rl.files import write_atomically

REPORTS = ("report.json", "report.html")

logger = logging.getLogger(__name__)


def claim_folder(folder: Path, wanted: Manifest, overwrite: bool = False) -> Manifest:
    """Make `folder` hold this measurement: write its `eval.json`, or add the models to the one that is there.

    Args:
        folder: made if need be.
        wanted: what is about to be run.
        overwrite: delete the samples and reports in `folder` first.

    Returns:
        What the folder now holds; models of earlier evaluations come first.

    Raises:
        ValueError: when the folder is a file, or holds samples of another measurement, naming the fields that differ.
    """
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} is a file: `--out` is a folder.")
    if overwrite:
        clear_folder(folder)
    elif (folder / MANIFEST).exists():
        if (folder / "samples").exists():  # else an evaluation ended before it had drawn any, and binds nobody
            wanted = _merge(folder, read_manifest(folder), wanted)
    elif (folder / "samples").exists() or any((folder / report).exists() for report in REPORTS):
        raise ValueError(
            f"{folder} holds an evaluation without its {MANIFEST}. Choose another folder or `--overwrite`."
        )
    write_atomically(folder / MANIFEST, wanted.model_dump_json(indent=2) + "\n")
    return wanted


def clear_folder(folder: Path) -> None:
    """Delete what an evaluation writes, and nothing else: the folder may also hold the training run."""
    shutil.rmtree(folder / "samples", ignore_errors=True)
    shutil.rmtree(folder / "plots", ignore_errors=True)
    shutil.rmtree(folder / "training", ignore_errors=True)
    for report in REPORTS:
        (folder / report).unlink(missing_ok=True)


def _merge(folder: Path, found: Manifest, wanted: Manifest) -> Manifest:
    differing = [
        f"{name}: {getattr(found.measurement, name)!r} there, {getattr(wanted.measurement, name)!r} now"
        for name in found.measurement.differing_fields(wanted.measurement)
    ]
    differing += [
        f"{name}: {getattr(found, name)} there, {getattr(wanted, name)} now"
        for name in ("num_problems", "num_dropped")
        if getattr(found, name) != getattr(wanted, name)
    ]
    there = {(run.label, run.run): run for run in found.runs}
    differing += [
        f"{run.label}.{run.run}: {identity(there[key])} there, {identity(run)} now"
        for run in wanted.runs
        if (key := (run.label, run.run)) in there and there[key] != run
    ]
    if differing:
        raise ValueError(
            f"{folder} holds another evaluation. What differs: {'; '.join(differing)}. Choose another `--out`, or "
            "`--overwrite` to delete what is there."
        )
    changed = [name for name, number in wanted.versions.items() if found.versions.get(name) != number]
    if changed:
        logger.warning("%s was begun with other versions of %s; its record keeps those.", folder, ", ".join(changed))
    added = tuple(run for run in wanted.models if (run.label, run.run) not in there)
    return found.model_copy(update={"models": found.models + added, "baseline": found.baseline or wanted.baseline})


def identity(run: ModelRun) -> str:
    """Write which model a run is."""
    model = f"{run.model}@{run.fingerprint}" if run.fingerprint else run.model
    return f"{model} with exit {run.exit}" if run.exit else model
