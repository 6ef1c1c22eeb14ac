"""Grade the samples of an evaluation's folder again: the files, and what may be written where."""

import itertools
import os
import shutil
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from tqdm import tqdm

from concise_rl.evaluate.claim import claim_folder
from concise_rl.evaluate.frontier import FRONTIER
from concise_rl.evaluate.imported import ImportedMeasurement
from concise_rl.evaluate.rescore.changes import Changes
from concise_rl.evaluate.rescore.grading import Grader, Rows, StoredAnswers
from concise_rl.evaluate.samples import Sample, read_samples, to_line
from concise_rl.evaluate.spec import MANIFEST, Manifest, Measurement, ModelRun, read_manifest
from concise_rl.files import beside, write_atomically
from concise_rl.verify.pool import VerifierPool

BATCH = 512
"""Samples that are graded together; no more are in memory."""


@dataclass(frozen=True)
class Wanted:
    """Say how to grade again, and where the result goes.

    Attributes:
        changes: to the measurement: `verifier`, `judge` and the like. What is not named stays.
        model: whose tokenizer wrote the samples; None for the evaluation's own.
        out: another folder for the result; None for the folder itself.
        overwrite: whether samples that are there may be replaced.
        workers: processes that grade side by side.
    """

    changes: dict[str, Any] = field(default_factory=dict)
    model: str | None = None
    out: Path | None = None
    overwrite: bool = False
    workers: int = 2

    def __post_init__(self) -> None:
        """Refuse what grades nothing."""
        if self.workers < 1:
            raise ValueError(f"--workers is {self.workers}: one process or more has to grade.")

    @property
    def writes(self) -> bool:
        """Say whether anything is written. Without that, changes are counted alone."""
        return self.out is not None or self.overwrite


def rescore(folder: Path, wanted: Wanted) -> Changes:
    """Grade all samples of an evaluation again, from their token ids.

    All are graded before any file is touched, so that an interruption leaves the folder as it was. A sample that stays
    as it was keeps its line to the byte.

    Args:
        folder: of the evaluation.
        wanted: see `Wanted`.

    Raises:
        ValueError: when the folder holds no evaluation, a file is damaged, the tokenizer, the verifier or the judge
            cannot be had, the samples are of another task, or the result's folder holds samples that may not go.
    """
    manifest = regraded(read_manifest(folder), wanted)
    _check_target(folder, wanted)
    draft = beside(wanted.out or folder / "samples")
    try:
        changes = _grade_all(folder, manifest, wanted, draft)
        if wanted.out:
            _write_out(folder, wanted.out, manifest, draft)
        elif wanted.overwrite:
            _replace(folder, manifest, draft)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return changes


def regraded(manifest: Manifest, wanted: Wanted) -> Manifest:
    """Return the record of the evaluation as it is to be graded.

    Raises:
        ValueError: for a setting that cannot be, and for samples of another tool without a verifier.
    """
    measurement = manifest.measurement
    if isinstance(measurement, ImportedMeasurement):
        if wanted.changes.keys() != {"verifier"}:
            raise ValueError(
                f"The verdicts were imported from {measurement.imported_from}: name what grades the stored answers, "
                "--verifier math say. Nothing else of imported samples can be read again."
            )
        new: Any = measurement.model_copy(update={"scorer": None, **wanted.changes})
    else:
        new = Measurement.model_validate(measurement.model_dump() | wanted.changes)
    return manifest.model_copy(update={"measurement": new})


def _check_target(folder: Path, wanted: Wanted) -> None:
    out = wanted.out
    if out is None:
        return
    if out.resolve() == folder.resolve():
        raise ValueError(
            f"--out {out} is the folder itself: leave it out, and give --overwrite to replace its samples."
        )
    if out.exists() and not out.is_dir():
        raise ValueError(f"{out} is a file: `--out` is a folder.")
    if not wanted.overwrite and ((out / MANIFEST).exists() or (out / "samples").exists()):
        raise ValueError(f"{out} holds an evaluation: choose another --out, or --overwrite it.")


def _grade_all(folder: Path, manifest: Manifest, wanted: Wanted, draft: Path) -> Changes:
    changes = Changes()
    for run in manifest.runs:
        path = run.samples_path(folder)
        if not path.is_file():
            raise ValueError(f"There are no samples of {run.title}: {path} is not there.")
        shares = _shares(run, path, manifest, wanted, draft)
        if len(shares) == 1:
            found = [grade_share(shares[0])]
        else:
            with ProcessPoolExecutor(len(shares)) as processes:
                found = list(processes.map(grade_share, shares))
        for one in found:
            changes.include(one)
        if wanted.writes:
            _write_lines(draft / path.name, (line for share in shares for line in _lines_of(share.part)))
    return changes


@dataclass(frozen=True)
class Share:
    """A part of one run's samples, to be graded by one process.

    Attributes:
        run, path: whose samples they are, and their file.
        manifest: says how to grade.
        model: whose tokenizer wrote them.
        start, stop: numbers of the first sample and the one behind the last, in the order of the file.
        part: where their lines go; None for nowhere.
        workers: processes of the verifier.
    """

    run: ModelRun
    path: Path
    manifest: Manifest
    model: str
    start: int
    stop: int
    part: Path | None
    workers: int


def _shares(run: ModelRun, path: Path, manifest: Manifest, wanted: Wanted, draft: Path) -> list[Share]:
    """Cut a file into parts for processes of their own. A judge that may hold a model is asked in one process alone."""
    with path.open("rb") as file:
        count = sum(1 for _ in file)
    alone = manifest.measurement.judge not in (None, "rule", "oracle")
    number = 1 if alone else max(1, min(wanted.workers, count // BATCH))
    edges = [count * i // number for i in range(number + 1)]
    return [
        Share(
            *(run, path, manifest, wanted.model or run.model, start, stop),
            part=draft / f"{path.name}.{start}" if wanted.writes else None,
            workers=max(1, wanted.workers // number),
        )
        for start, stop in itertools.pairwise(edges)
    ]


def grade_share(share: Share) -> Changes:
    """Grade a part of the samples, and write their lines where they go.

    Raises:
        ValueError: see `rescore`.
    """
    changes = Changes()
    verifier = str(share.manifest.measurement.verifier)
    with VerifierPool(verifier, workers=share.workers) as pool, _grader(share, pool) as grader:
        lines = _graded_lines(share, grader, changes)
        if share.part is not None:
            _write_lines(share.part, lines)
        else:
            deque(lines, maxlen=0)
    return changes


def _grader(share: Share, pool: VerifierPool) -> Grader | StoredAnswers:
    measurement = share.manifest.measurement
    if isinstance(measurement, ImportedMeasurement):
        return StoredAnswers(pool)
    return Grader(share.run.title, measurement, share.model, Rows.of(measurement), pool)


def _graded_lines(share: Share, grader: Grader | StoredAnswers, changes: Changes) -> Iterator[bytes]:
    """Yield the line of each sample as it is graded now; the line of the file where nothing changes."""
    size = share.stop - share.start
    with share.path.open("rb") as file, tqdm(desc=share.run.title, total=size, unit="sample") as bar:
        # The file may have a torn last line, which is no sample.
        pairs = islice(zip(read_samples(share.path), file, strict=False), share.start, share.stop)
        while batch := list(islice(pairs, BATCH)):
            for (before, line), after in zip(batch, grader.grade([sample for sample, _ in batch]), strict=True):
                changes.add(share.run.title, before, after)
                yield line if before == after else _checked(after)
            bar.update(len(batch))


def _lines_of(part: Path | None) -> Iterator[bytes]:
    assert part is not None, "something is written"
    with part.open("rb") as file:
        yield from file


def _checked(sample: Sample) -> bytes:
    """Write a sample that was changed, after a look at whether it agrees with itself."""
    line = to_line(sample).encode()
    Sample.model_validate_json(line)
    return line


def _write_lines(path: Path, lines: Iterator[bytes]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("xb") as file:
        file.writelines(lines)
        file.flush()
        os.fsync(file.fileno())


def _replace(folder: Path, manifest: Manifest, draft: Path) -> None:
    """Put the drafts in the place of the sample files, and record how they were graded."""
    for run in manifest.runs:
        path = run.samples_path(folder)
        os.replace(draft / path.name, path)
    write_atomically(folder / MANIFEST, manifest.model_dump_json(indent=2) + "\n")


def _write_out(folder: Path, out: Path, manifest: Manifest, draft: Path) -> None:
    """Make another evaluation's folder of the drafts, with what the first one keeps of trainings and a frontier."""
    claim_folder(out, manifest, overwrite=True)  # what may not be overwritten has been refused
    (out / "samples").mkdir()
    _replace(out, manifest, draft)
    if (folder / "training").is_dir():
        shutil.copytree(folder / "training", out / "training")
    if (folder / FRONTIER).is_file():
        shutil.copyfile(folder / FRONTIER, out / FRONTIER)
