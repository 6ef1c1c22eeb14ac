"""Have a judge read the thinking of imported completions, as an evaluation does with its own."""

from collections.abc import Sequence
from contextlib import closing

from concise_rl.evaluate.exchange.counting import Read, Reader
from concise_rl.evaluate.exchange.grading import Row, golds_of
from concise_rl.evaluate.exchange.log import Logged
from concise_rl.evaluate.labels import ThinkingReader
from concise_rl.evaluate.samples import ThinkingLabels
from concise_rl.labels.judges import build_judge
from concise_rl.reading.trace import StopReason, Trace
from concise_rl.verify.pool import VerifierPool

USUAL = "math"
"""The verifier that a judge uses where the verdicts are the log's own."""


def read_thinking(
    reader: Reader,
    logged: Sequence[Logged],
    read: Sequence[Read],
    verdicts: Sequence[float | None],
    rows: Sequence[Row | None],
    judge: str,
    verifier: str | None,
) -> list[ThinkingLabels | None]:
    """Label each right completion that ended by itself behind closed thinking; None for the others.

    Args:
        reader: with the tokenizer of the model that was run.
        logged, read: the completions, and what they hold.
        verdicts: on each of them.
        rows: of the task that gives the right answers; None each where those are the log's own.
        judge: its name or dotted path.
        verifier: what it compares answers with; None for the usual one.

    Raises:
        ValueError: without token ids or thinking, for an unknown judge, or one that cannot judge such problems.
        EngineError: when the engine behind the judge fails.
    """
    if reader.tokenizer is None or reader.think_end is None or any(one.ids is None for one in read):
        raise ValueError(
            f"{reader.log.name}: a judge reads token ids of thinking, which lighteval logs, by the tokenizer that made "
            "them. Give --tokenizer MODEL, or no --judge."
        )
    asked = [
        {"prompt": one.prompt} | dict(row or {}) | {"answer": golds_of(one, row)[0]}
        for one, row in zip(logged, rows, strict=True)
    ]
    ended = [found.answer is not None and found.stop is StopReason.EOS for found in read]
    right = [verdict if whole else 0.0 for verdict, whole in zip(verdicts, ended, strict=True)]
    traces = [Trace(found.length, found.think_length or 0, None, found.stop is StopReason.EOS) for found in read]
    with VerifierPool(verifier or USUAL) as pool, closing(build_judge(judge, None, pool)) as opened:
        thinking = ThinkingReader.of(opened, reader.tokenizer, reader.delimiters)
        labels = thinking.read(asked, [found.ids or () for found in read], traces, right)
    thinking.warn_if_unsure(reader.log.model)
    return labels
