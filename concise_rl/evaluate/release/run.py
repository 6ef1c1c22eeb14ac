"""Make the folder that is released, in one step: it is there whole, or not at all."""

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from huggingface_hub import ModelCard
from transformers import AutoConfig

from concise_rl.evaluate.release.beside import (
    demand_publishable,
    write_constraints,
    write_recipe,
    write_reports,
    write_samples,
    write_sums,
)
from concise_rl.evaluate.release.page import demand_portable, page_text
from concise_rl.evaluate.release.proof import prove
from concise_rl.evaluate.release.source import Source, find_measured, read_source
from concise_rl.evaluate.release.weights import write_weights
from concise_rl.evaluate.samples import read_samples
from concise_rl.evaluate.spec import read_manifest
from concise_rl.files import beside
from concise_rl.train.card import is_hub_id

COMPARED = 8
"""Problems of a report whose greedy completions are held against the run's."""
_QUESTIONS = ("What is 4 + 3 - 9?", "What is 17 * 23?", "How many primes are there below 50?", "Solve x + 3 = 11.")
"""Asked where nothing was measured."""


@dataclass(frozen=True)
class Wanted:
    """What a release is to be.

    Attributes:
        reports: folders of evaluations of the model.
        name: hub id, or the folder's name.
        adapter_alone: whether adapters stay adapters.
        base_model: hub id of what was trained; None for what the recipe says.
        licence: None for the base model's own.
        samples: whether the samples of the first report are released.
        check: whether the released model is loaded afresh and held against the run's.
    """

    reports: Sequence[Path]
    name: str
    adapter_alone: bool = False
    base_model: str | None = None
    licence: str | None = None
    samples: bool = False
    check: bool = True


@dataclass(frozen=True)
class Proof:
    """What was held against the run's model.

    Attributes:
        asked: greedy completions that were compared.
        equal: how many of them are equal, by the library that loaded what is released.
    """

    asked: int
    equal: dict[str, int]


def samples_folder(out: Path) -> Path:
    """Return where the samples of a release go."""
    return out.with_name(f"{out.name}-samples")


def release(run: Path, out: Path, wanted: Wanted) -> Proof:
    """Write the folder.

    Args:
        run: folder of a finished training.
        out: what to make; it must not be there.
        wanted: what it is to be.

    Raises:
        ValueError: when something of it cannot be used, or the released model would not say what the run's does.
    """
    source = read_source(run)
    if out.exists():
        raise ValueError(f"{out} is there already: --overwrite, another --out, or --push to send it.")
    if wanted.samples and not wanted.reports:
        raise ValueError("--samples are those of an evaluation: give its folder as --report.")
    if wanted.samples:
        demand_publishable(wanted.reports[0])
    base = wanted.base_model or (source.base if is_hub_id(source.base) else None)
    licence = wanted.licence or licence_of(source.base, base)
    partial = beside(out)
    partial.mkdir(parents=True)
    try:
        proof = _write(source, partial, wanted, base, licence)
        if wanted.samples:
            write_samples(wanted.reports[0], samples_folder(out), wanted.name, licence)
        os.replace(partial, out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return proof


def _write(source: Source, out: Path, wanted: Wanted, base: str | None, licence: str) -> Proof:
    write_weights(source, out, wanted.adapter_alone, base)
    base_name = base or source.base
    reports = {folder: find_measured(folder, [source.folder, out], wanted.name, base_name) for folder in wanted.reports}
    questions = _questions(wanted)
    page = page_text(
        source,
        name=wanted.name,
        licence=licence,
        base_model=base,
        measured=list(reports.values()),
        adapter_alone=wanted.adapter_alone,
        dtype=_dtype(out),
        question=questions[0],
    )
    write_recipe(source, out, base)
    write_constraints(out)
    write_reports(reports, out)
    (out / "README.md").write_text(page)
    demand_portable(out)
    proof = Proof(len(questions), prove(source.folder, out, questions) if wanted.check else {})
    write_sums(out)
    return proof


def _questions(wanted: Wanted) -> list[str]:
    """Return problems that the model was measured on, else some of ours."""
    if not wanted.reports:
        return [*_QUESTIONS]
    path = read_manifest(wanted.reports[0]).models[0].samples_path(wanted.reports[0])
    return list(islice(dict.fromkeys(sample.prompt for sample in read_samples(path)), COMPARED))


def _dtype(out: Path) -> str:
    if not (out / "config.json").is_file():
        return "auto"
    return str(AutoConfig.from_pretrained(out).dtype).removeprefix("torch.")


def licence_of(trained: str, base: str | None) -> str:
    """Find the licence of the base model.

    Args:
        trained: what the recipe trains.
        base: its hub id; None where it has none.

    Raises:
        ValueError: when it cannot be found.
    """
    if trained.startswith("tiny:"):
        return "apache-2.0"
    cards = [Path(trained) / "README.md"] if Path(trained).is_dir() else []
    for card in [path for path in cards if path.is_file()]:
        if licence := ModelCard.load(card).data.get("license"):
            return licence
    if base:
        try:
            if licence := ModelCard.load(base).data.get("license"):
                return licence
        except OSError:  # not on this machine, and no network
            pass
    raise ValueError(f"The licence of {base or trained} could not be found: give --licence ID, as apache-2.0.")
