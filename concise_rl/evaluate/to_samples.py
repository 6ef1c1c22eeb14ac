"""From judged rollouts to samples."""

from collections.abc import Sequence
from typing import Any

from transformers import PreTrainedTokenizerBase

from concise_rl.evaluate.problems import Problem
from concise_rl.evaluate.samples import Sample
from concise_rl.methods import Judged, Rollout, StopReason
from concise_rl.reading.passages import count_cues
from concise_rl.reading.trace import Trace
from concise_rl.verify.grade import answer_text

Place = tuple[Problem, int]
"""A problem, and the number of a sample among its samples."""


def to_samples(places: Sequence[Place], judged: Judged, tokenizer: PreTrainedTokenizerBase) -> list[Sample]:
    """Make a sample of each rollout.

    Args:
        places: whose samples they are.
        judged: the rollouts; with the fact `thinking` of `ReadThinking`, where anybody has read their thinking.
        tokenizer: writes their text.
    """
    labels = judged.facts.get("thinking", [None] * len(places))
    return [
        Sample(
            sample=number,
            **_of_problem(problem),
            **_of_completion(rollout, trace, tokenizer),
            **_of_reading(rollout, trace, verdict, tokenizer),
            labels=labelled,
        )
        for (problem, number), rollout, trace, verdict, labelled in zip(
            places, judged.rollouts, judged.traces, judged.earned, labels, strict=True
        )
    ]


def _of_problem(problem: Problem) -> dict[str, Any]:
    return {
        "problem": problem.index,
        "prompt_hash": problem.prompt_hash,
        "prompt": problem.row["prompt"],
        "gold": problem.row["answer"],
        "difficulty": problem.row.get("difficulty"),
        "oracle_length": problem.oracle_length,
        "facts": dict(problem.facts),
    }


def _of_completion(rollout: Rollout, trace: Trace, tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
    return {
        "completion_ids": list(rollout.ids),
        "text": _text(tokenizer, rollout.ids[: trace.length - trace.finished]),
        "length": trace.length,
        "think_length": trace.think_length,
        "sampled": rollout.sampled,
        "stop_reason": rollout.stop_reason.label,
        "finished": trace.finished,
        "cost": rollout.cost,
    }


def _of_reading(
    rollout: Rollout, trace: Trace, verdict: float | None, tokenizer: PreTrainedTokenizerBase
) -> dict[str, Any]:
    """Return the verdict, the answer and the cues. What was given up has none of them, however far it came."""
    if rollout.stop_reason is StopReason.ABORTED:
        return {"correct": None, "answer": None, "reflections": None}
    return {
        "correct": None if verdict is None else int(verdict == 1),
        "answer": None if trace.answer_ids is None else answer_text(trace.answer_ids, tokenizer),
        "reflections": count_cues(_text(tokenizer, rollout.ids[: trace.think_length])).total(),
    }


def _text(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int]) -> str:
    text = tokenizer.decode(list(ids))
    assert isinstance(text, str), "one sequence decodes to one text"
    return text
