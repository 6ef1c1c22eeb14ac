"""From completions to verdicts."""

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from transformers import PreTrainedTokenizerBase

from concise_rl.reading.trace import Trace
from concise_rl.verify.pool import VerifierPool


def grade(
    traces: Sequence[Trace],
    rows: Sequence[Mapping[str, Any]],
    tokenizer: PreTrainedTokenizerBase,
    verifier: VerifierPool,
) -> list[float | None]:
    """The verdict on each completion: 1, 0, or None where the verifier could not judge.

    Without exactly one closing think delimiter there is no answer part, and the completion is wrong unjudged.
    """
    answers = [None if t.answer_ids is None else answer_text(t.answer_ids, tokenizer) for t in traces]
    judged = [(answer, row) for answer, row in zip(answers, rows, strict=True) if answer is not None]
    verdicts = iter(verifier.judge(judged))
    return [0.0 if answer is None else next(verdicts) for answer in answers]


def earned(verdict: float | None, trace: Trace) -> float | None:
    """The verdict by which a rollout counts as right, in training and in evaluation: 0 for one that did not end."""
    return verdict if trace.finished else 0.0


def answer_text(ids: Sequence[int], tokenizer: PreTrainedTokenizerBase) -> str:
    """The text of an answer. Special tokens are left out, but what they part stays apart: `4<pad>2` is not 42."""
    special = set(tokenizer.all_special_ids)
    parts = [list(part) for is_special, part in groupby(ids, special.__contains__) if not is_special]
    return " ".join(str(tokenizer.decode(part)) for part in parts)
