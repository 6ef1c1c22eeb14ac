"""Rollouts of a few steps as lines of `rollouts.jsonl`, for a person to read: one line for each group.

They are of the main process's first groups, which the data order has shuffled. Nothing is drawn for them, and no number
of the training depends on them.

Axis letters: B rollouts of all ranks, T tokens.
"""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from concise_rl.files import ROLLOUTS_FILE, append_line, forget_later
from concise_rl.methods import SequenceReward
from concise_rl.reading.trace import Span, TokenPart, cut_parts, decode_parts
from concise_rl.rollout.collect import Judged
from concise_rl.rollout.plans.plan import Rollout
from concise_rl.train.gather import Moment

logger = logging.getLogger(__name__)


def due_steps(num_steps: int, max_steps: int) -> list[int]:
    """Spread so many steps over a run, its first and its last among them; steps count from 1.

    Args:
        num_steps: how many, fewer where the run has fewer.
        max_steps: of the run.
    """
    if num_steps < 2 or max_steps < 2:
        return [1][: min(num_steps, max_steps)]
    return sorted({1 + round(i * (max_steps - 1) / (num_steps - 1)) for i in range(num_steps)})


class Recorder(TrainerCallback):
    """Writes the rollouts of the steps that are due. A run replaces those of the steps that it makes again."""

    def __init__(self, num_steps: int, num_groups: int) -> None:
        """
        Args:
            num_steps: how many steps to record.
            num_groups: how many groups of each.
        """
        self.num_steps, self.num_groups = num_steps, num_groups

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Drop what came after the checkpoint."""
        if state.is_world_process_zero:
            forget_later(Path(args.output_dir or ".") / ROLLOUTS_FILE, state.global_step)

    def is_due(self, trainer: Any, now: Moment) -> bool:
        """Say whether the batch that was just sampled is to be recorded, here."""
        if not trainer.is_world_process_zero() or not now.training or now.number:
            return False
        args = trainer.args
        assert args.steps_per_generation, "TRL has derived it"
        window = max(args.steps_per_generation * trainer.num_iterations // args.gradient_accumulation_steps, 1)
        due = due_steps(self.num_steps, trainer.state.max_steps)
        return any(now.step < one <= now.step + window for one in due)

    def record(self, trainer: Any, now: Moment) -> None:
        """Write the first groups of this rank's last batch, if they are due. A full disk costs them, with a warning."""
        if not self.is_due(trainer, now):
            return
        try:
            for line in group_lines(trainer, self.num_groups):
                append_line(Path(trainer.args.folder) / ROLLOUTS_FILE, line)
        except OSError as error:
            logger.warning("Could not record rollouts of step %d: %s", trainer.state.global_step + 1, error)


def group_lines(trainer: Any, num_groups: int) -> list[dict[str, Any]]:
    """Describe the first groups of this rank's batch that do not merely fill it."""
    size, sampled = trainer.num_generations, trainer.credited.sampled
    real = trainer.world.mine(trainer.credited.real_B, len(sampled.rows)).tolist()
    groups = [group for group in range(len(real) // size) if real[group * size]][:num_groups]
    rollouts = rollout_facts(trainer, sampled, [group * size + i for group in groups for i in range(size)])
    return [
        {
            "step": trainer.state.global_step + 1,
            "group": group,
            "prompt": trainer._tokenizer.decode(sampled.prompt_ids[group * size]),
            "gold": str(sampled.rows[group * size].get("answer", "")),
            "rollouts": rollouts[at * size : (at + 1) * size],
        }
        for at, group in enumerate(groups)
    ]


def rollout_facts(trainer: Any, judged: Judged, rows: Sequence[int]) -> list[dict[str, Any]]:
    """Describe rollouts of this rank as they were sampled, before a method crops them."""
    rewards_B, first = rewards(trainer), trainer.world.rank * len(judged.rows)
    return [_facts(trainer, judged, row, first + row) | {"reward": _number(rewards_B[first + row])} for row in rows]


def rewards(trainer: Any) -> Tensor:
    """Return (B,) what the method pays for each rollout, or the verdict where it pays by token; NaN for fillers."""
    now, method = trainer.credited, trainer.method
    of_real = method.rewards(now.real) if isinstance(method, SequenceReward) else now.real.kept_correct
    rewards_B = torch.full(now.real_B.shape, torch.nan, dtype=of_real.dtype)
    rewards_B[now.real_B] = of_real
    return rewards_B


def _facts(trainer: Any, judged: Judged, row: int, at: int) -> dict[str, Any]:
    """Describe the rollout that is this rank's `row`, and stands at place `at` in the batch of all ranks."""
    now, rollout, trace = trainer.credited, judged.rollouts[row], judged.traces[row]
    labelled = now.batch.redundant is not None and bool(now.batch.earned[at] == 1)
    start, end = now.batch.redundant[at].tolist() if labelled and now.batch.redundant is not None else (0, 0)
    parts = cut_parts(trace, trainer.delimiters, start if start < end else None)
    texts = decode_parts(rollout.ids, parts, trainer._tokenizer)
    trained = now.judged.rollouts[row]
    left_out = (start, end) if len(trained.ids) < len(rollout.ids) else (0, 0)
    return {
        "parts": [[name, text] for (name, _, _), text in zip(parts, texts, strict=True)],
        "tokens": trace.length,
        "thinking_tokens": trace.think_length,
        "redundant_tokens": end - start if labelled else None,
        "sampled_tokens": rollout.sampled,
        "trained_tokens": trained_tokens(trained, int(now.kept_B[at])),
        "stop": rollout.stop_reason.label,
        "correct": _number(now.batch.kept_correct[at]),
        **advantage_facts(now.advantages[at], trace.length, parts, left_out),
    }


def trained_tokens(rollout: Rollout, kept: int) -> int:
    """Count the tokens that the loss reads, of the first `kept`."""
    return kept if rollout.trained is None else sum(rollout.trained[:kept])


def advantage_facts(advantage: Tensor, length: int, parts: Sequence[TokenPart], left_out: Span) -> dict[str, Any]:
    """Describe what a rollout is worth: `advantage`, the mean over its tokens, and by part where tokens differ.

    Args:
        advantage: () or (T,), over the tokens that are trained on.
        length: tokens of the rollout as it was sampled.
        parts: of it.
        left_out: tokens that were sampled and are not trained on; an empty span where there are none.
    """
    if advantage.ndim == 0:
        return {"advantage": _number(advantage)}
    start, end = left_out
    gap_T = torch.full((end - start,), torch.nan, dtype=advantage.dtype)
    by_token_T = torch.cat([advantage[:start], gap_T, advantage[start:]])[:length]
    by_part = {name: _number(by_token_T[a:b].nanmean()) for name, a, b in parts}
    return {"advantage": _number(by_token_T.nanmean()), "advantage_by_part": by_part}


def _number(value: Tensor) -> float | None:
    """Write a number for a file; None for NaN, which JSON does not have."""
    return None if torch.isnan(value) else round(float(value), 5)
