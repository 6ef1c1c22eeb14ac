"""Say how well one judge's labels of redundant tokens agree with another's, on the samples of an evaluation."""

import math
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table

from concise_rl.data.rows import columns_read
from concise_rl.evaluate.rows import measured_rows
from concise_rl.evaluate.samples import Sample, read_samples
from concise_rl.evaluate.spec import MANIFEST, Manifest, read_manifest
from concise_rl.evaluate.text import percent
from concise_rl.labels.judges import judge_options
from concise_rl.labels.labeller import Labels, PassageKind, agreement, build_labeller
from concise_rl.models.eos import load_tokenizer
from concise_rl.models.resolve import resolve_model
from concise_rl.reading.trace import Delimiters, Trace, read_trace
from concise_rl.verify.pool import VerifierPool

Row = Mapping[str, Any]
NEEDS_IDS = "A judge reads the tokens that a model sampled"


@dataclass(frozen=True)
class Reading:
    """Correct samples, ready to be labelled.

    Attributes:
        tokenizer: of the model that wrote them.
        delimiters: of that model.
        verifier: name of the one that graded them.
        rows: the data row of each.
        completions: token ids of each.
        traces: how each reads.
    """

    tokenizer: Any
    delimiters: Delimiters
    verifier: str
    rows: list[Row]
    completions: list[list[int]]
    traces: list[Trace]


@dataclass(frozen=True)
class JudgeAgreement:
    """Hold what two judges say about the same samples. NaN, and None in JSON, where there was nothing to be right
    about.

    Attributes:
        passage: what the thinking was cut into.
        judge, against: the judge, and the one that is taken for the truth.
        precision, recall, f1: of the redundant tokens of all samples together.
        redundant, redundant_against: how many tokens each calls redundant.
        same_first: share of the samples in which both find the same first passage, or none.
        traces: correct samples.
        stated, stated_against: share of them whose thinking states the answer, by each.
        passages: how many were read.
        failed: about how many of them the judge could not tell.
        seconds: that the judge took, its loading left out.
    """

    passage: str
    judge: str
    against: str
    precision: float
    recall: float
    f1: float
    redundant: int
    redundant_against: int
    same_first: float
    traces: int
    stated: float
    stated_against: float
    passages: int
    failed: int
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """Return its fields, None where they are NaN."""
        return json_numbers(self)


def json_numbers(result: Any) -> dict[str, Any]:
    """Return the fields of a dataclass, None where they are NaN."""
    return {
        name: None if isinstance(value, float) and math.isnan(value) else value
        for name, value in asdict(result).items()
    }


@dataclass(frozen=True)
class JudgeSpec:
    """A judge by its name, and its options."""

    name: str
    options: Mapping[str, Any] | None = None


def compare_judges(
    paths: Sequence[Path],
    judge: JudgeSpec,
    against: JudgeSpec,
    passages: Sequence[PassageKind] = ("chunk",),
    verifier: str | None = None,
    model: str | None = None,
) -> list[JudgeAgreement]:
    """Have two judges read the correct samples of some files.

    Args:
        paths: sample files, in the folders of their evaluations.
        judge: whose labels are in question.
        against: whose labels are taken for the truth.
        passages: what to cut the thinking into; one entry of the result for each.
        verifier: used by the judges; None for the one that graded the samples.
        model: whose tokenizer wrote the samples; None for the one that the evaluation names.

    Raises:
        ValueError: when a file is not there or no sample file, the samples have no correct one, a judge is unknown or
            does not know such problems.
        EngineError: when the engine behind a judge fails.
    """
    for one in (judge, against):
        judge_options(one.name, one.options)
    reading = read_correct(paths, verifier, model, (judge.name, against.name))
    with VerifierPool(reading.verifier) as pool:
        return [_compare(reading, judge, against, passage, pool) for passage in passages]


def _compare(
    reading: Reading, judge: JudgeSpec, against: JudgeSpec, passage: PassageKind, pool: VerifierPool
) -> JudgeAgreement:
    truth, *_ = _label(reading, against, passage, pool)
    labels, counters, seconds = _label(reading, judge, passage, pool)
    found = agreement(labels, truth)
    return JudgeAgreement(
        passage=passage,
        judge=judge.name,
        against=against.name,
        precision=found.precision,
        recall=found.recall,
        f1=found.f1,
        redundant=found.found,
        redundant_against=found.redundant,
        same_first=_mean([one.first == two.first for one, two in zip(labels, truth, strict=True)]),
        traces=len(labels),
        stated=_mean([label.first is not None for label in labels]),
        stated_against=_mean([label.first is not None for label in truth]),
        passages=counters["passages"],
        failed=counters["unsure"],
        seconds=seconds,
    )


def _mean(values: Sequence[bool]) -> float:
    return sum(values) / len(values)


def _label(
    reading: Reading, judge: JudgeSpec, passage: PassageKind, pool: VerifierPool
) -> tuple[list[Labels], dict[str, int], float]:
    """Return the labels of all samples, what was counted, and the seconds that took."""
    labeller = build_labeller(passage, judge.name, judge.options, reading.delimiters, reading.tokenizer, pool)
    with closing(labeller):
        began = time.perf_counter()
        labels = labeller.label(reading.rows, reading.completions, reading.traces, [1.0] * len(reading.rows))
        return labels, labeller.counters, time.perf_counter() - began


def read_correct(
    paths: Sequence[Path], verifier: str | None = None, model: str | None = None, judges: Sequence[str] = ()
) -> Reading:
    """Return the correct samples of some files, for judges of these names. Other arguments, and errors, as in
    `compare_judges`."""
    files = [(path, manifest_of(path)) for path in paths]
    first_path, first = files[0]
    asked = first.drawn_here(NEEDS_IDS)
    for path, manifest in files:
        if manifest.measurement.think_end != asked.think_end:
            raise ValueError(
                f"{first_path} and {path} close their thinking differently: compare judges on one of them."
            )
        if not verifier and manifest.measurement.verifier != asked.verifier:
            raise ValueError(f"{first_path} and {path} were graded by different verifiers: choose one with --verifier.")
    models = [model] if model else list(dict.fromkeys(_model_of(path, manifest) for path, manifest in files))
    source = (asked.revision, asked.trust_remote_code)
    model, (tokenizer, ends) = models[0], load_tokenizer(resolve_model(models[0]), *source)
    for other in models[1:]:
        if load_tokenizer(resolve_model(other), *source)[0].get_vocab() != tokenizer.get_vocab():
            raise ValueError(f"{model} and {other} have different tokenizers: compare judges on the samples of one.")
    delimiters = Delimiters.of(tokenizer, ends, asked.think_end)
    columns = columns_read(verifier or asked.verifier, *judges)
    pairs = [pair for path, manifest in files for pair in _correct(path, manifest, columns)]
    if not pairs:
        raise ValueError(f"No sample in {', '.join(map(str, paths))} is correct: there is nothing for a judge to read.")
    ids = [sample.ids for sample, _ in pairs]
    traces = [read_trace(one, delimiters) for one in ids]
    return Reading(tokenizer, delimiters, verifier or asked.verifier, [row for _, row in pairs], ids, traces)


def manifest_of(path: Path) -> Manifest:
    """Return the record of the evaluation that a sample file belongs to.

    Raises:
        ValueError: when there is no such file, or it lies in no evaluation's folder.
    """
    if not path.is_file():
        raise ValueError(f"There is no file {path}. Give samples that `concise-rl eval` wrote: DIR/samples/*.jsonl.")
    folder = path.resolve().parent.parent
    if not (folder / MANIFEST).is_file():
        raise ValueError(
            f"{path} does not lie in an evaluation's folder: {folder} has no {MANIFEST} that says what was asked."
        )
    return read_manifest(folder)


def _model_of(path: Path, manifest: Manifest) -> str:
    """Return the model that wrote the samples of a file.

    Raises:
        ValueError: when the evaluation knows no such file.
    """
    for run in manifest.runs:
        if run.samples_path(Path()).name == path.name:
            return run.model
    raise ValueError(f"{path} is of no model in its {MANIFEST}: say whose tokenizer wrote it with --model.")


def _correct(path: Path, manifest: Manifest, columns: set[str] | None) -> list[tuple[Sample, Row]]:
    """Return the correct samples of a file, each with its data row.

    Raises:
        ValueError: for a sample whose problem the task does not have.
    """
    measurement = manifest.drawn_here(NEEDS_IDS)
    rows = {(row["prompt"], row["answer"]): row for row in measured_rows(measurement, columns)}
    found = []
    for sample in read_samples(path):
        row = rows.get((sample.prompt, sample.gold))
        if row is None:
            raise ValueError(
                f"{path}: problem {sample.problem}, sample {sample.sample} is not of the task "
                f"{measurement.task!r} in its {MANIFEST}. Has the data changed?"
            )
        if sample.correct == 1:
            found.append((sample, row))
    return found


def agreement_table(results: Sequence[JudgeAgreement]) -> Table:
    """Return the results as a table: one line for each kind of passage."""
    first = results[0]
    table = Table(
        box=box.SIMPLE_HEAD,
        padding=0,  # all columns fit 80 characters
        title=f"Redundant tokens by {first.judge}, against {first.against}: {first.traces:,} correct samples",
        caption=(
            f"Same: samples in which both find the same first passage, or none. Stated: samples whose thinking states "
            f"the answer, below it by {first.against}. Failed: passages about which {first.judge} could not tell. "
            f"Seconds: of {first.judge}."
        ),
        title_style="bold",
        caption_justify="left",
    )
    table.add_column("passage", no_wrap=True)
    for name in ("precision", "recall", "F1", "same", "stated", "passages", "failed", "seconds"):
        table.add_column(name, justify="right", no_wrap=True)
    for result in results:
        table.add_row(*_cells(result))
    return table


def _cells(result: JudgeAgreement) -> list[str]:
    shares = [None if math.isnan(v) else v for v in (result.precision, result.recall, result.f1)]
    return [
        result.passage,
        *(percent(share, digits=2) for share in shares),
        percent(result.same_first, digits=2),
        f"{percent(result.stated)}\n{percent(result.stated_against)}",
        f"{result.passages:,}",
        f"{result.failed:,}",
        f"{result.seconds:.1f}",
    ]
