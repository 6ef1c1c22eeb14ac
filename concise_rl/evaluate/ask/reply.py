"""A completion that was asked for, read: its parts, its verdict, and where its thinking first states the answer."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from transformers import PreTrainedTokenizerBase

from concise_rl.evaluate.ask.question import Question
from concise_rl.labels.judges import DEFAULT_JUDGE
from concise_rl.labels.labeller import Labeller, build_labeller
from concise_rl.reading.trace import (
    Delimiters,
    PartName,
    StopReason,
    TokenPart,
    Trace,
    cut_parts,
    decode_parts,
    read_trace,
)
from concise_rl.rollout.engine import Completion
from concise_rl.verify.grade import answer_text, earned, grade
from concise_rl.verify.pool import VerifierPool
from concise_rl.verify.verifiers.claims import answers


@dataclass(frozen=True)
class Part:
    """Tokens of one kind that follow each other.

    Attributes:
        kind: `redundant` is thinking, too.
        text: of the tokens.
        tokens: how many they are.
    """

    kind: PartName
    text: str
    tokens: int


@dataclass(frozen=True)
class Reader:
    """Hold what it takes to read the completions of one model.

    Attributes:
        tokenizer, delimiters: of the model.
        labeller: finds the first passage that states an answer; None for a model that does not think.
        pool: the verifier.
    """

    tokenizer: PreTrainedTokenizerBase
    delimiters: Delimiters
    labeller: Labeller | None
    pool: VerifierPool

    @classmethod
    def of(cls, tokenizer: PreTrainedTokenizerBase, delimiters: Delimiters, pool: VerifierPool) -> "Reader":
        """
        Raises:
            ValueError: when the tokenizer has none of the words at which chunks begin.
        """
        thinks = bool(delimiters.think_end)
        labeller = build_labeller("chunk", DEFAULT_JUDGE, None, delimiters, tokenizer, pool) if thinks else None
        return cls(tokenizer, delimiters, labeller, pool)

    def parts(
        self, ids: Sequence[int], stated_at: int | None, is_redundant: bool = True, last: int | None = None
    ) -> list[Part]:
        """Cut a completion, finished or growing, into its parts. An EOS is in none of them.

        Args:
            ids: its tokens.
            stated_at: tokens of thinking up to and with the first passage that states the answer, if any.
            is_redundant: whether what comes behind that is redundant, and not just more thinking.
            last: leave out all but so many tokens at the end.
        """
        cut = cut_parts(read_trace(ids, self.delimiters), self.delimiters, stated_at)
        first = 0 if last is None else len(ids) - last
        shown: list[TokenPart] = [(name, max(a, first), b) for name, a, b in cut if b > first and name != "end"]
        texts = decode_parts(ids, shown, self.tokenizer)
        return [
            Part("thinking" if name == "redundant" and not is_redundant else name, text.rstrip("\ufffd"), b - a)
            for (name, a, b), text in zip(shown, texts, strict=True)  # what is stripped is half a character
        ]

    def stated_at(self, ids: Sequence[int], trace: Trace, row: Any) -> int | None:
        """Return the token behind the first chunk of the thinking that states the row's answer."""
        if self.labeller is None:
            return None
        (label,) = self.labeller.label([row], [ids], [trace], [1.0])
        return None if label.first is None else label.redundant[0]

    def read(
        self, model: str, question: Question, completion: Completion, seconds: float, context_ended: bool = False
    ) -> "Reply":
        """Read and grade a finished completion. Arguments as the attributes of `Reply`."""
        trace = read_trace(completion.ids, self.delimiters)
        answer = None if trace.answer_ids is None else answer_text(trace.answer_ids, self.tokenizer).strip()
        verdict = None
        if question.gold is not None:
            verdict = earned(grade([trace], [question.row], self.tokenizer, self.pool)[0], trace)
        reference = question.gold or _own_answer(answer)
        row = {**question.row, "answer": reference}
        stated = self.stated_at(completion.ids, trace, row) if reference else None
        reply = Reply(
            model=model,
            question=question,
            ids=completion.ids,
            trace=trace,
            stop_reason=completion.stop_reason,
            answer=answer,
            verdict=verdict,
            reference=reference,
            stated_at=stated,
            seconds=seconds,
            context_ended=context_ended,
            parts=(),
        )
        return replace(reply, parts=tuple(self.parts(completion.ids, stated, reply.is_redundant)))


def _own_answer(answer: str | None) -> str | None:
    """Return what an answer part claims, as far as that can be told."""
    claimed = answers(answer) if answer else []
    return claimed[-1].strip() or None if claimed else None


@dataclass(frozen=True)
class Reply:
    """Hold what a model replied.

    Attributes:
        model: its name.
        question: what it was asked.
        ids: tokens of the completion, EOS included.
        trace, stop_reason: how it reads, and how it ended.
        answer: text behind the thinking; None without exactly one closing delimiter.
        verdict: 1, 0, or None where no right answer is known or the verifier could not grade it.
        reference: the answer that the thinking was searched for: the right one; where that is not known, its own.
        stated_at: tokens of thinking up to and with the first passage that states the reference.
        seconds: that its tokens took.
        context_ended: whether it filled the model's context, so that it could not go on.
        parts: of its text.
    """

    model: str
    question: Question
    ids: Sequence[int]
    trace: Trace
    stop_reason: StopReason
    answer: str | None
    verdict: float | None
    reference: str | None
    stated_at: int | None
    seconds: float
    context_ended: bool
    parts: tuple[Part, ...]

    @property
    def is_graded(self) -> bool:
        """Say whether the right answer is known."""
        return self.question.gold is not None

    @property
    def is_redundant(self) -> bool:
        """Say whether what follows the first statement is redundant: a wrong reply would have been better off with more
        or other thinking."""
        return self.stated_at is not None and (self.verdict == 1.0 or not self.is_graded)

    @property
    def redundant(self) -> int | None:
        """Return the redundant tokens; None where that cannot be told."""
        if not self.is_redundant or self.stated_at is None:
            return 0 if self.verdict == 1.0 else None
        return self.trace.think_length - self.stated_at

    def to_json(self, seed: int) -> dict[str, Any]:
        """Return what a program needs to know of it.

        Args:
            seed: of the draws.
        """
        return {
            "model": self.model,
            "question": self.question.text,
            "origin": self.question.origin,
            "gold": self.question.gold,
            "seed": seed,
            "correct": None if self.verdict is None else self.verdict == 1.0,
            "answer": self.answer,
            "reference": ("gold" if self.is_graded else "own answer") if self.reference else None,
            "stated_at": self.stated_at,
            "tokens": {
                "total": self.trace.length,
                "thinking": self.trace.think_length,
                "redundant": self.redundant,
                "answer": len(self.trace.answer_ids or ()),
            },
            "finished": self.trace.finished,
            "stop_reason": self.stop_reason.label,
            "seconds": round(self.seconds, 3),
            "text": "".join(part.text for part in self.parts),
            "parts": [{"kind": part.kind, "tokens": part.tokens, "text": part.text} for part in self.parts],
        }
