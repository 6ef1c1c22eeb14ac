"""From completions to verdicts."""

from collections.abc import Mapping, Sequence
from typing import Any

from transformers import PreTrainedTokenizerBase

from concise_rl.trace import Trace
from concise_rl.verify import VerifierPool


def grade(
    traces: Sequence[Trace],
    rows: Sequence[Mapping[str, Any]],
    tokenizer: PreTrainedTokenizerBase,
    verifier: VerifierPool,
) -> list[float | None]:
    """The verdict on each completion: 1, 0, or None where the verifier could not judge.

    Without exactly one closing think delimiter there is no answer part, and the completion is wrong unjudged.
    """
    answers = [
        None if t.answer_ids is None else str(tokenizer.decode(list(t.answer_ids), skip_special_tokens=True))
        for t in traces
    ]
    judged = [(answer, row) for answer, row in zip(answers, rows, strict=True) if answer is not None]
    verdicts = iter(verifier.judge(judged))
    return [0.0 if answer is None else next(verdicts) for answer in answers]
