"""Reading the thinking of correct samples: where it first states the gold answer, and what comes after."""

import logging
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

from transformers import PreTrainedTokenizerBase

from concise_rl.evaluate.samples import ThinkingLabels
from concise_rl.evaluate.spec import Measurement
from concise_rl.labels.judges import Judge, Passage, build_judge
from concise_rl.labels.labeller import Cut, Labeller, Labels, cutter
from concise_rl.methods import Fact, Judged, Tools
from concise_rl.reading.trace import Delimiters, Span, Trace, character_at, decoded
from concise_rl.verify.pool import VerifierPool

logger = logging.getLogger(__name__)

Row = Mapping[str, Any]


@dataclass(frozen=True)
class ThinkingReader:
    """Finds the first chunk that states the answer, and in it the first line that does.

    Attributes:
        chunks: labels chunks.
        lines: cuts tokens into lines.
    """

    chunks: Labeller
    lines: Cut

    @classmethod
    def of(cls, judge: Judge, tokenizer: PreTrainedTokenizerBase, delimiters: Delimiters) -> "ThinkingReader":
        """
        Args:
            judge: says what states the answer.
            tokenizer, delimiters: of the model whose completions are read.

        Raises:
            ValueError: when the tokenizer has none of the words at which chunks begin.
        """
        chunks = Labeller(cutter("chunk", tokenizer, delimiters), judge, tokenizer)
        return cls(chunks, cutter("line", tokenizer, delimiters))

    def read(
        self,
        rows: Sequence[Row],
        completions: Sequence[Sequence[int]],
        traces: Sequence[Trace],
        verdicts: Sequence[float | None],
    ) -> list[ThinkingLabels | None]:
        """Label each completion whose verdict is 1, in two calls of the judge; None for the others.

        Raises:
            ValueError, EngineError: see `Judge.states`.
        """
        right = [i for i, verdict in enumerate(verdicts) if verdict == 1.0]
        found = iter(
            self._read_right([rows[i] for i in right], [completions[i] for i in right], [traces[i] for i in right])
        )
        return [next(found) if verdict == 1.0 else None for verdict in verdicts]

    def _read_right(
        self, rows: Sequence[Row], completions: Sequence[Sequence[int]], traces: Sequence[Trace]
    ) -> list[ThinkingLabels]:
        labels = self.chunks.label(rows, completions, traces, [1.0] * len(rows))
        stated = [i for i, label in enumerate(labels) if label.first is not None]
        ends = self._line_ends([rows[i] for i in stated], [completions[i] for i in stated], [labels[i] for i in stated])
        end_of = dict(zip(stated, ends, strict=True))
        return [
            self._of_sample(label, end_of.get(i, label.think_length), ids)
            for i, (label, ids) in enumerate(zip(labels, completions, strict=True))
        ]

    def warn_if_unsure(self, title: str) -> None:
        """Say what labels leave out."""
        unsure, read = self.chunks.counters["unsure"], self.chunks.counters["passages"]
        if unsure:
            message = "%s: the judge could not tell about %d of %d passages. They count as not stating the answer."
            logger.warning(message, title, unsure, read)

    def _line_ends(
        self, rows: Sequence[Row], completions: Sequence[Sequence[int]], labels: Sequence[Labels]
    ) -> list[int]:
        """End, as a token index, of the first line that states the answer in the chunk that does; the chunk's own where
        no line does by itself."""
        chunks = [label.spans[label.first] for label in labels if label.first is not None]
        lines = [self._lines_in(ids, chunk) for ids, chunk in zip(completions, chunks, strict=True)]
        passages = [
            self._passages(row, ids[: label.think_length], spans)
            for row, ids, label, spans in zip(rows, completions, labels, lines, strict=True)
        ]
        said = iter(self.chunks.judge.states([passage for of_one in passages for passage in of_one]))
        states = [[next(said) for _ in spans] for spans in lines]
        return [
            next((end for (_, end), stated in zip(spans, told, strict=True) if stated), chunk[1])
            for spans, told, chunk in zip(lines, states, chunks, strict=True)
        ]

    def _lines_in(self, ids: Sequence[int], chunk: Span) -> list[Span]:
        return [(chunk[0] + start, chunk[0] + end) for start, end in self.lines(ids[chunk[0] : chunk[1]])]

    def _passages(self, row: Row, thinking_ids: Sequence[int], spans: Sequence[Span]) -> list[Passage]:
        """Return the passages at adjoining spans of tokens, in their thinking."""
        pieces = [thinking_ids[: spans[0][0]], *(thinking_ids[a:b] for a, b in spans), thinking_ids[spans[-1][1] :]]
        texts = [decoded(self.chunks.tokenizer, ids, skip_special_tokens=True) for ids in pieces]
        thinking, starts = "".join(texts), [len("".join(texts[: i + 1])) for i in range(len(spans))]
        return [
            Passage(row, thinking, start, start + len(text)) for start, text in zip(starts, texts[1:], strict=False)
        ]

    def _of_sample(self, label: Labels, line_end: int, ids: Sequence[int]) -> ThinkingLabels:
        start, end = label.redundant
        return ThinkingLabels(
            passages=len(label.spans),
            first=label.first,
            redundant=end - start,
            overshoot=label.think_length - line_end,
            redundant_at=self._character(ids[: label.think_length], start) if end > start else None,
        )

    def _character(self, ids: Sequence[int], token: int) -> int:
        """Return the place of a token in the text that a sample keeps."""
        return character_at(self.chunks.tokenizer, ids, token, decoded(self.chunks.tokenizer, ids))


@dataclass(frozen=True)
class ReadThinking:
    """Reads the thinking of right rollouts: the stage of an evaluation.

    It adds `thinking`, the `ThinkingLabels` of each rollout or None. They become part of samples, and no batch of
    numbers is made of them, so that the stage declares no fact.

    Attributes:
        reader: of the model.
    """

    reader: ThinkingReader
    facts: ClassVar[tuple[Fact, ...]] = ()

    def __call__(self, judged: Judged, tools: Tools) -> Judged:
        """See `Stage`."""
        completions = [rollout.ids for rollout in judged.rollouts]
        return judged.knowing(thinking=self.reader.read(judged.rows, completions, judged.traces, judged.earned))


@contextmanager
def open_judge(measurement: Measurement, row: Row, pool: VerifierPool) -> Generator[Judge | None]:
    """Build the measurement's judge, where it has one; it is let go of afterwards.

    Raises:
        ValueError: when it cannot be had, or cannot judge such rows.
    """
    if measurement.judge is None:
        yield None
        return
    with closing(build_judge(measurement.judge, measurement.judge_options, pool)) as judge:
        judge.states([Passage(row, "", 0, 0)])  # a judge that knows nothing of such rows says so before any is sampled
        yield judge
