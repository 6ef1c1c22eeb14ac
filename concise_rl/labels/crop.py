"""Take redundant tokens out of rollouts before they are trained on."""

from dataclasses import replace

from concise_rl.reading.trace import Delimiters, Span, read_trace
from concise_rl.rollout.collect import Judged
from concise_rl.rollout.plans.plan import Rollout


def without(rollout: Rollout, span: Span) -> Rollout:
    """A rollout that was sampled with some tokens and is trained on without them. What it was sampled with says nothing
    of the log-probabilities behind them: they are left out."""
    start, end = span
    if start == end:
        return rollout
    behind = len(rollout.ids) - end
    return replace(
        rollout,
        ids=rollout.ids[:start] + rollout.ids[end:],
        logprobs=rollout.logprobs and [*rollout.logprobs[:start], *([None] * behind)],
        trained=rollout.trained and rollout.trained[:start] + rollout.trained[end:],
    )


def crop(judged: Judged, delimiters: Delimiters) -> Judged:
    """Take the redundant tokens out of labelled rollouts. The answers stay, and with them the verdicts."""
    spans = judged.facts["redundant"]
    rollouts = [without(rollout, span) for rollout, span in zip(judged.rollouts, spans, strict=True)]
    return replace(judged, rollouts=rollouts, traces=[read_trace(rollout.ids, delimiters) for rollout in rollouts])
