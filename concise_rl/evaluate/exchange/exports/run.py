"""What is exported of an evaluation: one run, that is one model."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from concise_rl.evaluate.evaluation import Evaluation
from concise_rl.evaluate.samples import Sample, read_samples

DATE = "1970-01-01T00:00:00+00:00"
"""Stands where a format wants a date: evaluations keep none, so that the same samples give the same files."""
SETTINGS = ("max_tokens", "temperature", "top_p", "top_k", "seed")


@dataclass(frozen=True)
class ExportedRun:
    """One model's samples, with what the formats say around them.

    Attributes:
        name: label and number of the run, `mine.0`.
        task, model: what was measured, on what.
        samples: by problem and number.
        problems, epochs: how many there are, and samples of each.
        accuracy: mean over problems of the mean over graded samples; None where none was graded.
        settings: of the sampling; what is not known is left out.
        measurement: all that is recorded of it.
        versions: of the packages that made the samples.
    """

    name: str
    task: str
    model: str
    samples: Sequence[Sample]
    problems: int
    epochs: int
    accuracy: float | None
    settings: Mapping[str, Any]
    measurement: Mapping[str, Any]
    versions: Mapping[str, str]

    @property
    def identity(self) -> str:
        """Return a name that another run, or another measurement, does not have."""
        said = f"{self.name} {self.model} {sorted(self.measurement.items(), key=str)}"
        return hashlib.sha256(said.encode()).hexdigest()[:22]


def exported_runs(evaluation: Evaluation) -> Iterator[ExportedRun]:
    """Yield the runs of an evaluation, the baseline first."""
    manifest = evaluation.manifest
    measurement = manifest.measurement.model_dump(mode="json")
    tables = {
        run: table for _, label in evaluation.numbered for run, table in zip(label.runs, label.drawn, strict=True)
    }
    for run in manifest.runs:
        graded_P = tables[run].accuracy_P[~np.isnan(tables[run].accuracy_P)]
        samples = sorted(read_samples(evaluation.paths[run]), key=lambda one: (one.problem, one.sample))
        yield ExportedRun(
            name=f"{run.label}.{run.run}",
            task=manifest.measurement.task,
            model=run.model,
            samples=samples,
            problems=manifest.num_problems,
            epochs=manifest.measurement.samples,
            accuracy=float(graded_P.mean()) if graded_P.size else None,
            settings={name: measurement[name] for name in SETTINGS if measurement.get(name) is not None},
            measurement=measurement,
            versions=manifest.versions,
        )
