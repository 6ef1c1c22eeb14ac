"""What every method logs of its rollouts."""

from torch import Tensor

from concise_rl.objective import RolloutBatch, has_signal
from concise_rl.trace import StopReason

NAN = float("nan")
LOGGED_REASONS = (
    StopReason.EOS,
    StopReason.LENGTH,
    StopReason.THINK_BUDGET,
    StopReason.FORCED_EXIT,
    StopReason.ABORTED,
)


def rollout_metrics(batch: RolloutBatch, advantages: Tensor, kept_B: Tensor) -> dict[str, float]:
    """What every method logs: signal, pass rates of groups, lengths, stop reasons, and what a cap cut off (shares)."""
    aborted_B = batch.stop_reason == StopReason.ABORTED
    correct_PG = batch.grouped(batch.earned.masked_fill(aborted_B, NAN))  # nobody knows what they would have earned
    judged_PG = ~correct_PG.isnan()
    largest_B = advantages.abs() if advantages.ndim == 1 else advantages.abs().amax(dim=1)
    cut_B, exit_B = ~batch.finished & ~aborted_B, batch.stop_reason == StopReason.FORCED_EXIT
    right_B = batch.earned == 1
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
