"""Make the folder that is released, in one step: it is there whole, or not at all."""

import os
import shutil
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
from concise_rl.evaluate.release.measured import find_all
from concise_rl.evaluate.release.page import demand_portable, page_text
from concise_rl.evaluate.release.proof import prove
from concise_rl.evaluate.release.source import Source, read_source
from concise_rl.evaluate.release.wanted import Wanted
from concise_rl.evaluate.release.weights import write_weights
from concise_rl.evaluate.samples import read_samples
from concise_rl.evaluate.spec import read_manifest
from concise_rl.files import beside
from concise_rl.models.resolve import ships
from concise_rl.models.smollm2 import HUB_ID

COMPARED = 8
"""Problems of a report whose greedy completions are held against the run's."""
_QUESTIONS = ("What is 4 + 3 - 9?", "What is 17 * 23?", "How many primes are there below 50?", "Solve x + 3 = 11.")
"""Asked where nothing was measured."""


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
    source = read_source(run, wanted.recipe)
    if out.exists():
        raise ValueError(f"{out} is there already: --overwrite, another --out, or --push to send it.")
    if wanted.samples and not wanted.reports:
        raise ValueError("--samples are those of an evaluation: give its folder as --report.")
    if wanted.samples:
        demand_publishable(wanted.reports[0])
    licence = wanted.licence or licence_of(source.base, source.hub_base(wanted.base_model))
    partial = beside(out)
    partial.mkdir(parents=True)
    try:
        proof = _write(source, partial, wanted, licence)
        if wanted.samples:
            write_samples(wanted.reports[0], samples_folder(out), wanted.name, licence)
        os.replace(partial, out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return proof


def _write(source: Source, out: Path, wanted: Wanted, licence: str) -> Proof:
    write_weights(source, out, wanted)
    reports = find_all(source, out, wanted)
    questions = _questions(wanted)
    dtype = _dtype(source.base_folder if wanted.adapter_alone else str(out))
    page = page_text(source, wanted, list(reports.values()), licence=licence, dtype=dtype, question=questions[0])
    write_recipe(source, out, wanted)
    write_constraints(out)
    write_reports(reports, out)
    (out / "README.md").write_text(page)
    demand_portable(out)
    proof = Proof(len(questions), prove(source, out, questions, wanted.dtype) if wanted.check else {})
    write_sums(out)
    return proof


def _questions(wanted: Wanted) -> list[str]:
    """Return problems that the model was measured on, else some of ours."""
    if not wanted.reports:
        return [*_QUESTIONS]
    path = read_manifest(wanted.reports[0]).models[0].samples_path(wanted.reports[0])
    return list(islice(dict.fromkeys(sample.prompt for sample in read_samples(path)), COMPARED))


def _dtype(folder: str) -> str:
    return str(AutoConfig.from_pretrained(folder).dtype).removeprefix("torch.")


def licence_of(trained: str, base: str | None) -> str:
    """Find the licence of the base model.

    Args:
        trained: what the recipe trains.
        base: its hub id; None where it has none.

    Raises:
        ValueError: when it cannot be found.
    """
    if ships(trained) or base == HUB_ID:
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
