"""Make an evaluation's folder of other tools' logs."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from concise_rl.evaluate.claim import claim_folder
from concise_rl.evaluate.exchange.counting import Read, Reader, find_think_end
from concise_rl.evaluate.exchange.formats import read_log
from concise_rl.evaluate.exchange.grading import Row, golds_of, regrade, rows_of
from concise_rl.evaluate.exchange.log import Log, Logged, Wanted, common
from concise_rl.evaluate.exchange.pairing import Arranged, arrange, hash_text
from concise_rl.evaluate.exchange.thinking import read_thinking
from concise_rl.evaluate.imported import ImportedMeasurement
from concise_rl.evaluate.samples import Sample, ThinkingLabels, append_samples
from concise_rl.evaluate.spec import BASELINE, Manifest, ModelRun, as_label
from concise_rl.reading.passages import count_cues
from concise_rl.reading.trace import StopReason
from concise_rl.verify.pool import VerifierPool

SETTINGS = ("max_tokens", "temperature", "top_p", "top_k")
ANY_OF = " or "
"""Between several right answers, as a sample shows them."""


@dataclass(frozen=True)
class ImportSpec:
    """Hold what is to be imported, and how.

    Attributes:
        paths, baseline: files or folders of the model's log, and of its baseline's; the latter empty without one.
        format: a name in `FORMATS`; None to tell it from the files.
        label: of the model in the report; None for its name.
        task: a data set with the right answers; None for those in the log.
        think_end: what closes the thinking; None for the usual text where samples hold it, empty for models that do
            not think.
        tokenizer: the model whose tokenizer reads token ids, or counts tokens; None for the log's own counts.
        scorer: the score that says right or wrong; None for the only one.
        verifier: grades the answers again; None for the log's own verdicts.
        judge: who reads the thinking of right samples; None for nobody.
        samples, partial: see `arrange`.
    """

    paths: tuple[Path, ...]
    baseline: tuple[Path, ...] = ()
    format: str | None = None
    label: str | None = None
    task: str | None = None
    think_end: str | None = None
    tokenizer: str | None = None
    scorer: str | None = None
    verifier: str | None = None
    judge: str | None = None
    samples: int | None = None
    partial: bool = False


def import_logs(spec: ImportSpec, out: Path, overwrite: bool = False) -> list[str]:
    """Write `eval.json` and `samples/*.jsonl` of a model's log, and of its baseline's.

    Args:
        spec: what to import.
        out: the folder. Further models can be added to what was imported alike.
        overwrite: delete the samples and reports in `out` first.

    Returns:
        What a reader must know: what was left out, or is not known.

    Raises:
        ValueError: when a log cannot be used, the logs cannot be compared, or `out` holds something else.
    """
    if spec.samples is not None and spec.samples < 1:
        raise ValueError(f"--samples is {spec.samples}: at least one sample of each problem is compared.")
    if spec.task is not None and spec.verifier is None:
        raise ValueError("--task gives the right answers for --regrade VERIFIER: give both, or neither.")
    wanted = Wanted(spec.scorer, spec.verifier is not None)
    logs = [read_log(paths, spec.format, wanted) for paths in (spec.paths, spec.baseline) if paths]
    told = spec.think_end is not None
    think_end = find_think_end(logs, (spec.think_end or None) if told else "</think>", told)
    arranged = arrange(logs, spec.samples, spec.partial)
    measurement = _measurement(spec, logs, arranged, think_end)
    notes = [f"{log.name}: {len(log.files)} files are one task here." for log in logs if len(log.files) > 1]
    notes += arranged.notes
    drawn = [
        _samples(log, problems, spec, think_end, notes) for log, problems in zip(logs, arranged.problems, strict=True)
    ]
    runs = [ModelRun(label=spec.label or as_label(Path(logs[0].model).name), model=logs[0].model)]
    runs += [ModelRun(label=BASELINE, model=log.model) for log in logs[1:]]
    runs = [run.model_copy(update={"fingerprint": _hash(log)}) for run, log in zip(runs, logs, strict=True)]
    manifest = Manifest(
        measurement=measurement,
        models=(runs[0],),
        baseline=runs[1] if len(runs) > 1 else None,
        num_problems=len(arranged.problems[0]),
        num_dropped=arranged.dropped,
        versions={name: number for log in logs[::-1] for name, number in log.versions.items()},
    )
    claim_folder(out, manifest, overwrite)
    for run, samples in zip(runs, drawn, strict=True):
        run.samples_path(out).unlink(missing_ok=True)
        append_samples(run.samples_path(out), samples)
    return notes


def _measurement(
    spec: ImportSpec, logs: Sequence[Log], arranged: Arranged, think_end: str | None
) -> ImportedMeasurement:
    """Put together what the logs say of their sampling.

    Raises:
        ValueError: when two of them say different things.
    """
    said = {
        name: [found for log in logs if (found := getattr(log, name)) is not None] for name in ("format", *SETTINGS)
    }
    differing = [f"{name} {values[0]!r} and {values[1]!r}" for name, values in said.items() if len({*values}) > 1]
    if differing:
        raise ValueError(f"The model and its baseline were not run alike: {', '.join(differing)}.")
    settings = {name: common([getattr(log, name) for log in logs]) for name in SETTINGS}
    return ImportedMeasurement(
        imported_from=logs[0].format,
        task=common([log.task for log in logs]) or f"{logs[0].task} and {logs[1].task}",
        samples=arranged.samples,
        scorer=logs[0].scorer,
        verifier=spec.verifier,
        think_end=think_end,
        tokenizer=spec.tokenizer,
        judge=spec.judge,
        **settings,
    )


def _hash(log: Log) -> str:
    """Hash the contents of a log's files, in their order."""
    total = hashlib.sha256()
    for path in log.files:
        with path.open("rb") as file:
            total.update(hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()[:16]


def _samples(
    log: Log, problems: Sequence[Sequence[Logged]], spec: ImportSpec, think_end: str | None, notes: list[str]
) -> list[Sample]:
    """Read, count and grade the completions of a log."""
    reader = Reader(log, think_end, spec.tokenizer)
    places = [(p, k, one) for p, own in enumerate(problems) for k, one in enumerate(own)]
    logged, read = [one for _, _, one in places], [reader.read(one) for _, _, one in places]
    rows = _rows(spec, problems)
    if spec.verifier is None:
        verdicts = [one.verdict for one in logged]
        notes += _lenient(log, verdicts, read)
    else:
        verdicts = _regraded(logged, read, [rows[p] for p, _, _ in places], spec.verifier)
    labels: Sequence[ThinkingLabels | None] = [None] * len(read)
    if spec.judge is not None:
        of_each = [rows[p] for p, _, _ in places]
        labels = read_thinking(reader, logged, read, verdicts, of_each, spec.judge, spec.verifier)
    if reader.guessed:
        cap = "no cap" if log.max_tokens is None else f"a cap of {log.max_tokens} tokens"
        notes.append(
            f"{log.name}: how {reader.guessed} samples ended is not in the log. It was told from {cap}: shorter ones "
            "count as ended by themselves."
        )
    return [
        _sample(p, k, one, found, verdict, rows[p], label)
        for (p, k, one), found, verdict, label in zip(places, read, verdicts, labels, strict=True)
    ]


def _rows(spec: ImportSpec, problems: Sequence[Sequence[Logged]]) -> Sequence[Row | None]:
    """Return the row of the task that each problem is of; None each without a task."""
    if spec.task is None or spec.verifier is None:
        return [None] * len(problems)
    return rows_of(spec.task, [own[0] for own in problems], spec.verifier)


def _lenient(log: Log, verdicts: Sequence[float | None], read: Sequence[Read]) -> list[str]:
    """Say how many samples a log calls right that this project would not."""
    pairs = zip(verdicts, read, strict=True)
    count = sum(v == 1 and (found.answer is None or found.stop is not StopReason.EOS) for v, found in pairs)
    if not count:
        return []
    return [
        f"{log.name}: {count} samples are right by the log's own verdict, though they were cut, or have no answer "
        "behind the thinking. `concise-rl eval` counts such samples as wrong, and so does --regrade VERIFIER."
    ]


def _regraded(
    logged: Sequence[Logged], read: Sequence[Read], rows: Sequence[Row | None], verifier: str
) -> list[float | None]:
    answers = [found.answer if found.stop is StopReason.EOS else None for found in read]
    golds = [golds_of(one, row) for one, row in zip(logged, rows, strict=True)]
    more = [{"prompt": one.prompt} | dict(row or {}) for one, row in zip(logged, rows, strict=True)]
    with VerifierPool(verifier) as pool:
        return regrade(answers, golds, more, pool)


def _sample(
    p: int, k: int, one: Logged, read: Read, verdict: float | None, row: Row | None, labels: ThinkingLabels | None
) -> Sample:
    aborted = read.stop is StopReason.ABORTED
    correct = None if verdict is None or aborted else int(verdict)
    answer = read.answer
    if answer is None and correct != 0:
        answer = read.text  # the log's own scorer found it somewhere in there
    return Sample(
        problem=p,
        sample=k,
        prompt_hash=hash_text(one.prompt),
        prompt=one.prompt,
        gold=str(row["answer"]) if row is not None else ANY_OF.join(one.golds),
        completion_ids=None if read.ids is None else list(read.ids),
        text=read.text,
        length=read.length,
        think_length=read.think_length,
        sampled=None,
        stop_reason=read.stop.label,
        finished=read.stop is StopReason.EOS,
        correct=correct,
        answer=None if aborted else answer,
        reflections=_reflections(read, aborted),
        labels=labels,
        log_id=one.problem,
        difficulty=(row or {}).get("difficulty"),
    )


def _reflections(read: Read, aborted: bool) -> int | None:
    return None if aborted or read.thinking is None else count_cues(read.thinking).total()
