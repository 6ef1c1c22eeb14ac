"""Which tokens of a right completion's thinking are redundant: those after the first passage that states the answer.

Thinking is cut into passages from its token ids, a judge reads the passages of all right completions at once, and what
comes after the first that states the gold answer is redundant. The thinking up to and with it is the *necessary prefix*
(DECS, https://hf.co/papers/2509.25827).
"""

import itertools
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from transformers import PreTrainedTokenizerBase

from concise_rl.errors import unknown
from concise_rl.labels.judges import Judge, Passage, build_judge
from concise_rl.reading.passages import ChunkTokens, chunk_spans, line_spans, sentence_spans, token_texts
from concise_rl.reading.trace import Delimiters, Span, Trace, decoded
from concise_rl.verify.pool import VerifierPool

PassageKind = Literal["chunk", "sentence", "line"]
Cut = Callable[[Sequence[int]], list[Span]]
"""From the tokens of a completion's thinking to its passages."""


@dataclass(frozen=True)
class Labels:
    """What is known of one completion's thinking.

    Attributes:
        spans: passages, as token indices of the completion, without gaps.
        first: which of them is the first that states the gold answer. None when none does, and for a completion that is
            wrong or could not be judged.
        think_length: tokens of thinking.
    """

    spans: tuple[Span, ...]
    first: int | None
    think_length: int

    @classmethod
    def of(cls, spans: Sequence[Span], states: Sequence[bool | None], think_length: int) -> "Labels":
        """From a judge's word on each passage, None counting as no; none at all for what was not judged."""
        first = next((i for i, stated in enumerate(states) if stated), None)
        return cls(tuple(spans), first, think_length)

    @property
    def redundant(self) -> Span:
        """Start and end of the redundant tokens; both are the end of the thinking when there are none."""
        if self.first is None:
            return (self.think_length, self.think_length)
        return (self.spans[self.first][1], self.spans[-1][1])

    @property
    def necessary(self) -> float:
        """Share of the passages up to and with the first that states the answer; 0 when none does."""
        return 0.0 if self.first is None else (self.first + 1) / len(self.spans)

    def redundant_tokens(self, skip_last: int = 0) -> list[int]:
        """Indices of the redundant tokens, the last `skip_last` of each passage left out. Published: 0."""
        after = [] if self.first is None else self.spans[self.first + 1 :]
        return [token for start, end in after for token in range(start, end - skip_last)]


class Labeller:
    """Labels completions.

    Attributes:
        counters: completions that were `judged`, of which `stated` the answer in their thinking, and did `not_stated`;
            those among them with `no_thinking`; `passages` that the judge read and those on which it was `unsure`; and
            what the judge counts besides.
    """

    def __init__(self, cut: Cut, judge: Judge, tokenizer: PreTrainedTokenizerBase) -> None:
        """
        Args:
            cut: how thinking is cut into passages.
            judge: reads them.
            tokenizer: of the model whose completions are labelled.
        """
        self.cut, self.judge, self.tokenizer = cut, judge, tokenizer
        self._counters: Counter[str] = Counter()
        self.reset_counters()

    @property
    def counters(self) -> dict[str, int]:
        """Since the last `reset_counters`."""
        return {**self._counters, **self.judge.counters}

    def reset_counters(self) -> None:
        """Start counting from zero."""
        self._counters = Counter(judged=0, stated=0, not_stated=0, no_thinking=0, passages=0, unsure=0)
        self.judge.counters = Counter(dict.fromkeys(self.judge.counters, 0))

    def close(self) -> None:
        """Let go of the judge."""
        self.judge.close()

    def label(
        self,
        rows: Sequence[Mapping[str, Any]],
        completions: Sequence[Sequence[int]],
        traces: Sequence[Trace],
        verdicts: Sequence[float | None],
    ) -> list[Labels]:
        """Label completions; only those whose verdict is 1 are judged.

        Args:
            rows: of the data set, one for each completion.
            completions: token ids.
            traces: how they read.
            verdicts: 1, 0, or None where the verifier could not judge.

        Raises:
            ValueError, EngineError: see `Judge.states`.
        """
        spans = [self.cut(ids[: trace.think_length]) for ids, trace in zip(completions, traces, strict=True)]
        right = [i for i, verdict in enumerate(verdicts) if verdict == 1.0]
        passages = {i: self.passages(rows[i], completions[i], spans[i]) for i in right}
        said = iter(self.judge.states([passage for i in right for passage in passages[i]]))
        states = {i: [next(said) for _ in passages[i]] for i in right}
        labels = [Labels.of(spans[i], states.get(i, []), trace.think_length) for i, trace in enumerate(traces)]
        self._count([labels[i] for i in right], states)
        return labels

    def passages(self, row: Mapping[str, Any], ids: Sequence[int], spans: Sequence[Span]) -> list[Passage]:
        """The passages at spans that begin with the first token and adjoin; of what follows them they know nothing."""
        texts = [decoded(self.tokenizer, ids[start:end], skip_special_tokens=True) for start, end in spans]
        thinking, ends = "".join(texts), [0]
        for text in texts:
            ends.append(ends[-1] + len(text))
        return [Passage(row, thinking, start, end) for start, end in itertools.pairwise(ends)]

    def _count(self, labels: Sequence[Labels], states: Mapping[int, Sequence[bool | None]]) -> None:
        told = [stated for of_one in states.values() for stated in of_one]
        self._counters["judged"] += len(labels)
        self._counters["stated"] += sum(label.first is not None for label in labels)
        self._counters["not_stated"] += sum(label.first is None for label in labels)
        self._counters["no_thinking"] += sum(not label.spans for label in labels)
        self._counters["passages"] += len(told)
        self._counters["unsure"] += told.count(None)


def cutter(passage: PassageKind, tokenizer: PreTrainedTokenizerBase, delimiters: Delimiters) -> Cut:
    """How thinking is cut into passages.

    Raises:
        ValueError: for an unknown kind of passage, and for chunks where the tokenizer has none of the words to cut at.
    """
    if passage == "chunk":
        tokens = ChunkTokens.of(tokenizer)
        return lambda ids: chunk_spans(ids, tokens, delimiters.think_end)
    text_of, spans = token_texts(tokenizer), {"sentence": sentence_spans, "line": line_spans}
    if passage not in spans:
        raise unknown("kind of passage", passage, ("chunk", *spans))
    return lambda ids: spans[passage](ids, text_of)


def build_labeller(
    passage: PassageKind,
    judge: str,
    options: Mapping[str, Any] | None,
    delimiters: Delimiters,
    tokenizer: PreTrainedTokenizerBase,
    verifier: VerifierPool,
) -> Labeller:
    """Set up labelling.

    Args:
        passage: what the thinking is cut into.
        judge: one of `JUDGES`, or the dotted path of a judge of the user's own.
        options: of the judge.
        delimiters: of the model whose completions are labelled.
        tokenizer: of that model.
        verifier: the run's.

    Raises:
        ValueError: for an unknown passage, judge or option (naming the nearest), or a model that is not there.
        EngineError: when the judge's server does not answer.
    """
    cut = cutter(passage, tokenizer, delimiters)
    return Labeller(cut, build_judge(judge, options, verifier), tokenizer)


@dataclass(frozen=True)
class Agreement:
    """How well redundant tokens were found. NaN where there was nothing to be right about.

    Attributes:
        precision: share of the tokens called redundant that are.
        recall: share of the redundant tokens that were called so.
        f1: harmonic mean of both.
        found: tokens called redundant.
        redundant: tokens that are.
    """

    precision: float
    recall: float
    f1: float
    found: int
    redundant: int


def agreement(labels: Sequence[Labels], reference: Sequence[Labels]) -> Agreement:
    """Compare labels of the same completions, token by token, summed over all of them. Passages may differ in kind.

    Args:
        labels: to be judged.
        reference: the truth, `oracle` on lines say.
    """
    spans = [(label.redundant, truth.redundant) for label, truth in zip(labels, reference, strict=True)]
    found = sum(end - start for (start, end), _ in spans)
    redundant = sum(end - start for _, (start, end) in spans)
    both = sum(max(0, min(a[1], b[1]) - max(a[0], b[0])) for a, b in spans)
    return Agreement(
        _share(both, found), _share(both, redundant), _share(2 * both, found + redundant), found, redundant
    )


def _share(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")
