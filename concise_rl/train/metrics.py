"""What every method logs of its rollouts."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from concise_rl.methods import Objective, RolloutBatch, SequenceReward, StopReason, has_signal
from concise_rl.train.credit import Credited

NAN = float("nan")
LOGGED_REASONS = (
    StopReason.EOS,
    StopReason.LENGTH,
    StopReason.THINK_BUDGET,
    StopReason.FORCED_EXIT,
    StopReason.ABORTED,
)


def batch_metrics(credited: Credited, method: Objective) -> dict[str, float]:
    """What is logged of a batch: of its rollouts, their labels, and what the method made of them."""
    real, real_B = credited.real, credited.real_B
    of_rollouts = rollout_metrics(real, credited.advantages[real_B], credited.kept_B[real_B])
    return of_rollouts | label_metrics(real) | reflection_metrics(credited.batch) | method_metrics(method, real)


def method_metrics(method: Objective, batch: RolloutBatch) -> dict[str, float]:
    """What the method logs, and its mean reward where it has one."""
    logged = {name: _number(method, name, value) for name, value in method.metrics(batch).items()}
    if isinstance(method, SequenceReward):
        logged["reward"] = method.rewards(batch).nanmean().item()
    return {f"objective/{name}": value for name, value in logged.items()}


def _number(method: Objective, name: str, value: Any) -> float:
    if isinstance(value, bool | int | float):
        return float(value)
    raise ValueError(
        f"{type(method).__name__}.metrics: {name!r} is no number but {type(value).__name__}: take .item()."
    )


def reflection_metrics(batch: RolloutBatch) -> dict[str, float]:
    """Mean number of words of doubt in the thinking, where somebody has counted."""
    counted_B = batch.facts.get("reflections")
    return {} if counted_B is None else {"reflections/mean": counted_B.double().mean().item()}


def rollout_metrics(batch: RolloutBatch, advantages: Tensor, kept_B: Tensor) -> dict[str, float]:
    """What every method logs: signal, pass rates of groups, lengths, stop reasons, and what a cap cut off (shares)."""
    aborted_B = batch.stop_reason == StopReason.ABORTED
    correct_PG = batch.grouped(batch.earned.masked_fill(aborted_B, NAN))  # nobody knows what they would have earned
    judged_PG = ~correct_PG.isnan()
    largest_B = advantages.abs() if advantages.ndim == 1 else advantages.abs().amax(dim=1)
    cut_B, exit_B = ~batch.finished & ~aborted_B, batch.stop_reason == StopReason.FORCED_EXIT
    right_B, open_B = batch.earned == 1, batch.think_length == batch.length - 1
    mean_right = batch.length[right_B].float().mean().item() if right_B.any() else NAN
    return {
        "correct/mean": correct_PG.nanmean().item(),
        "groups/no_signal": (batch.grouped(largest_B).amax(dim=1) == 0).float().mean().item(),
        "groups/mixed": has_signal(correct_PG).float().mean().item(),
        "groups/all_correct": _share_of_groups(judged_PG, correct_PG == 1),
        "groups/all_wrong": _share_of_groups(judged_PG, correct_PG == 0),
        "length/mean": batch.length.float().mean().item(),
        "length/correct": mean_right,
        "length/think": batch.think_length.float().mean().item(),
        "rollout/trained": (kept_B.sum() / batch.length.sum()).item(),
        # What an aborted rollout would have taken nobody knows: the cap bounds it.
        "rollout/spared_at_most": ((batch.max_length - batch.length) * aborted_B).float().mean().item(),
        "rollout/cut": cut_B[~exit_B].float().mean().item(),
        "rollout/ended_thinking": (batch.finished & ~batch.closed & open_B).float().mean().item(),
        **({"rollout/exits_cut": cut_B[exit_B].float().mean().item()} if exit_B.any() else {}),
        **{f"stop/{reason.label}": (batch.stop_reason == reason).float().mean().item() for reason in LOGGED_REASONS},
    }


def _share_of_groups(judged_PG: Tensor, holds_PG: Tensor) -> float:
    """Share of the groups in which something holds of all judged members, and there are any."""
    return ((holds_PG | ~judged_PG).all(dim=1) & judged_PG.any(dim=1)).float().mean().item()


def label_metrics(batch: RolloutBatch) -> dict[str, float]:
    """Of the right rollouts of a labelled batch: share whose thinking states the answer, and of those the mean share
    of the passages that is necessary, and of the tokens thought after it. Nothing where there are none."""
    right_B = batch.earned == 1
    if batch.redundant is None or batch.necessary is None or not right_B.any():
        return {}
    stated_B = right_B & (batch.necessary > 0)
    of_stated = {
        "redundant/necessary_ratio": batch.necessary[stated_B].mean().item(),
        "redundant/tokens": batch.redundant.diff(dim=1)[stated_B].double().mean().item(),
    }
    stated = (stated_B.sum() / right_B.sum()).item()
    return {"redundant/stated": stated, **(of_stated if stated else {})}


@dataclass(frozen=True)
class Counted:
    """What one rank counted in a step.

    Attributes:
        rollouts: how many it has.
        sampled: tokens that the policy sampled for them.
        counters: of the verifier and the judge, since the start of the run, by the name of their metric.
        seconds: by part of the step.
    """

    rollouts: int
    sampled: int
    counters: Mapping[str, int]
    seconds: Mapping[str, float]


def step_metrics(ranks: Sequence[Counted]) -> dict[str, float]:
    """What all ranks counted, as metrics: means over all rollouts, sums of counters, and the slowest rank's seconds."""
    rollouts = sum(one.rollouts for one in ranks)
    counters, seconds = Counter[str](), dict[str, float]()
    for one in ranks:
        counters.update(one.counters)
        seconds |= {part: max(spent, seconds.get(part, 0.0)) for part, spent in one.seconds.items()}
    return {
        "rollout/sampled": sum(one.sampled for one in ranks) / rollouts,
        **{name: float(count) for name, count in counters.items()},
        **{f"time/{part}": spent for part, spent in seconds.items()},
    }


def ratio_columns(scored: Mapping[str, Tensor], mode: str, clip_max: float | None) -> Tensor:
    """(B, 6) of the importance weights of a scored batch, which correct for the difference between engine and trainer:
    tokens, weights, and sums over the weights: as they are, squared, beyond the clip, and as the loss applies them.

    As TRL 1.16 computes them (grpo_trainer.py:2659), before it clips or masks them.

    Args:
        scored: what TRL makes of the rollouts: (B, T) masks and log-probabilities, (B, T) or (B, 1) weights.
        mode: `vllm_importance_sampling_mode`.
        clip_max: `vllm_importance_sampling_clip_max`.
    """
    mask_BT = scored["completion_mask"] * scored.get("tool_mask", 1)
    gap_BT = torch.nan_to_num((scored["old_per_token_logps"] - scored["sampling_per_token_logps"]) * mask_BT, nan=0.0)
    tokens_B = mask_BT.sum(dim=1)
    by_sequence = mode.startswith("sequence")
    raw = (gap_BT.sum(dim=1, keepdim=True) if by_sequence else gap_BT).float().exp()
    counts = (tokens_B > 0)[:, None] if by_sequence else mask_BT
    beyond = raw > (torch.inf if clip_max is None else clip_max)
    of_weights = (torch.ones_like(raw), raw, raw**2, beyond, scored["importance_sampling_ratio"])
    return torch.stack([tokens_B.float(), *((each * counts).sum(dim=1).float() for each in of_weights)], dim=1)


def ratio_metrics(columns_BC: Tensor) -> dict[str, float]:
    """How healthy the importance weights of all ranks are, from `ratio_columns`. Engine and trainer that agree give 1,
    0, 1, 1 and 1.

    Returns:
        `ratio/mean` of the weights before they are clipped; `ratio/clipped`, the share beyond the clip; `ratio/ess`,
        the effective sample size, (sum w)^2 / (n sum w^2); `ratio/applied`, the mean of what the loss multiplies by;
        `ratio/long_over_short`, that mean in the longest quarter of the rollouts over that in the shortest: below 1
        long rollouts lose their gradient. Nothing where no token is trained on.
    """
    rows = columns_BC[columns_BC[:, 0] > 0].double().cpu()
    if not len(rows):
        return {}
    rows = rows[rows[:, 0].argsort(stable=True)]
    _, weights, raw, squared, beyond, applied = rows.sum(dim=0).tolist()
    quarter = max(1, len(rows) // 4)
    short, long = (part[:, 5].sum() / part[:, 1].sum() for part in (rows[:quarter], rows[-quarter:]))
    return {
        "ratio/mean": raw / weights,
        "ratio/clipped": beyond / weights,
        "ratio/ess": raw**2 / (weights * squared) if squared else NAN,
        "ratio/applied": applied / weights,
        "ratio/long_over_short": (long / short).item(),
    }
