"""Grade one run's stored samples again, and read their thinking again, as an evaluation does when it draws them."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Self

from transformers import PreTrainedTokenizerBase

from concise_rl.data.rows import columns_read
from concise_rl.evaluate.engines import finding
from concise_rl.evaluate.labels import ThinkingReader, open_judge
from concise_rl.evaluate.rows import measured_rows
from concise_rl.evaluate.samples import Sample, ThinkingLabels
from concise_rl.evaluate.spec import Measurement
from concise_rl.models.eos import load_tokenizer
from concise_rl.models.resolve import resolve_model
from concise_rl.reading.passages import count_cues
from concise_rl.reading.trace import Delimiters, StopReason, Trace, decoded, read_trace
from concise_rl.verify.grade import answer_text, earned
from concise_rl.verify.pool import VerifierPool

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Rows:
    """Find the data row of a sample.

    Attributes:
        rows: by prompt and answer; None where a verifier and a judge read nothing else of a row.
        task: what errors call their source.
    """

    rows: Mapping[tuple[str, str], Row] | None
    task: str

    @classmethod
    def of(cls, measurement: Measurement) -> "Rows":
        """Load the rows of a measurement, if its verifier or judge reads more than prompt and answer.

        Raises:
            ValueError: when they are not there, or not usable.
        """
        judges = [measurement.judge] if measurement.judge else []
        columns = columns_read(measurement.verifier, *judges)
        if columns is not None and not columns:
            return cls(None, measurement.task)
        found = measured_rows(measurement, columns)
        return cls({(row["prompt"], row["answer"]): row for row in found}, measurement.task)

    def row(self, sample: Sample) -> Row:
        """Return the row.

        Raises:
            ValueError: for a sample whose problem the task does not have.
        """
        if self.rows is None:
            return {"prompt": sample.prompt, "answer": sample.gold}
        found = self.rows.get((sample.prompt, sample.gold))
        if found is None:
            raise ValueError(
                f"Problem {sample.problem}, sample {sample.sample} is not of the task {self.task!r}. Has the data "
                "changed?"
            )
        return found


@dataclass(frozen=True)
class Reader:
    """Reads the token ids of one model's samples.

    Attributes:
        tokenizer, delimiters: of the model.
    """

    tokenizer: PreTrainedTokenizerBase
    delimiters: Delimiters

    @classmethod
    def of(cls, model: str, measurement: Measurement) -> "Reader":
        """Load a model's tokenizer.

        Raises:
            ValueError: when it is not there, or cannot write the measurement's delimiter.
        """
        path = resolve_model(model)
        with finding(model):
            tokenizer, ends = load_tokenizer(path, measurement.revision, measurement.trust_remote_code)
        return cls(tokenizer, Delimiters.of(tokenizer, ends, measurement.think_end))

    def read(self, sample: Sample) -> tuple[Trace, str | None]:
        """Return how a sample reads, and the text of its answer."""
        trace = read_trace(sample.ids, self.delimiters)
        return trace, None if trace.answer_ids is None else answer_text(trace.answer_ids, self.tokenizer)

    def reflections(self, sample: Sample, trace: Trace) -> int | None:
        """Count the cues in the thinking again, where that is no longer what it was."""
        if sample.think_length == trace.think_length:
            return sample.reflections
        return count_cues(decoded(self.tokenizer, sample.ids[: trace.think_length])).total()


class Grader:
    """Grades the samples of one run again. Use it as a context: it holds a judge."""

    def __init__(self, title: str, measurement: Measurement, model: str, rows: Rows, pool: VerifierPool) -> None:
        """
        Args:
            title: what warnings call the run.
            measurement: by which to grade.
            model: whose tokenizer wrote the samples.
            rows: of the task.
            pool: the verifier.

        Raises:
            ValueError: when the tokenizer is not there or cannot write the delimiter.
        """
        self.title, self.measurement, self.rows, self.pool = title, measurement, rows, pool
        self.reader = Reader.of(model, measurement)
        self._thinking: ThinkingReader | None = None
        self._open = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._thinking:
            self._thinking.warn_if_unsure(self.title)
        self._open.close()

    def grade(self, samples: Sequence[Sample]) -> list[Sample]:
        """Return the samples with verdicts, answers and labels as they are found now. What was given up has none.

        Raises:
            ValueError: see `Rows.row`, `VerifierPool.judge` and `Judge.states`.
        """
        ended = [sample for sample in samples if sample.stop_reason != StopReason.ABORTED.label]
        rows = [self.rows.row(sample) for sample in ended]
        read = [self.reader.read(sample) for sample in ended]
        traces = [trace for trace, _ in read]
        verdicts = grade_answers([answer for _, answer in read], rows, self.pool)
        counted = [earned(verdict, trace) for verdict, trace in zip(verdicts, traces, strict=True)]
        labels = iter(self._labels(ended, rows, traces, counted))
        found = {
            id(sample): self._graded(sample, trace, answer, verdict, next(labels))
            for sample, (trace, answer), verdict in zip(ended, read, counted, strict=True)
        }
        return [found.get(id(sample), sample) for sample in samples]

    def _graded(
        self, sample: Sample, trace: Trace, answer: str | None, verdict: float | None, labels: ThinkingLabels | None
    ) -> Sample:
        return sample.model_copy(
            update={
                "think_length": trace.think_length,
                "answer": answer,
                "correct": None if verdict is None else int(verdict == 1),
                "reflections": self.reader.reflections(sample, trace),
                "labels": labels,
            }
        )

    def _labels(
        self, samples: Sequence[Sample], rows: Sequence[Row], traces: Sequence[Trace], verdicts: Sequence[float | None]
    ) -> Iterable[ThinkingLabels | None]:
        """Read the thinking of right samples, if the measurement has a judge."""
        if self.measurement.judge is None or not rows:
            return [None] * len(samples)
        if self._thinking is None:
            judge = self._open.enter_context(open_judge(self.measurement, rows[0], self.pool))
            assert judge is not None, "the measurement has one"
            self._thinking = ThinkingReader.of(judge, self.reader.tokenizer, self.reader.delimiters)
        return self._thinking.read(rows, [sample.ids for sample in samples], traces, verdicts)


class StoredAnswers:
    """Grades samples that another tool drew, by their stored answers."""

    def __init__(self, pool: VerifierPool) -> None:
        """
        Args:
            pool: the verifier.

        Raises:
            ValueError: when the verifier reads more of a row than a log holds.
        """
        if columns_read(pool.name) != set():
            raise ValueError(f"The verifier {pool.name!r} reads columns of the data, which an imported log has not.")
        self.pool = pool

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is held."""

    def grade(self, samples: Sequence[Sample]) -> list[Sample]:
        """Return the samples with the verdicts that are found now."""
        rows = [{"prompt": sample.prompt, "answer": sample.gold} for sample in samples]
        verdicts = grade_answers([sample.answer for sample in samples], rows, self.pool)
        return [
            sample.model_copy(update={"correct": None if verdict is None else int(verdict == 1 and sample.finished)})
            for sample, verdict in zip(samples, verdicts, strict=True)
        ]


def grade_answers(answers: Sequence[str | None], rows: Sequence[Row], pool: VerifierPool) -> list[float | None]:
    """Grade answers, equal ones to the same problem once; 0 without an answer."""
    keys = [(answer, row["prompt"], row["answer"]) for answer, row in zip(answers, rows, strict=True)]
    items = {key: (key[0], row) for key, row in zip(keys, rows, strict=True) if key[0] is not None}
    verdicts = dict(zip(items, pool.judge(list(items.values())), strict=True))
    return [0.0 if key[0] is None else verdicts[key] for key in keys]
