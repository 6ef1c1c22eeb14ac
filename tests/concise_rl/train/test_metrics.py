"""Metrics of a step: over all ranks, and of the importance weights."""

import logging
import math
from pathlib import Path

import pytest
import torch
from torch import Tensor
from transformers import TrainerControl, TrainerState, TrainingArguments

from concise_rl.train.callbacks import Watchdog
from concise_rl.train.metrics import Counted, ratio_columns, ratio_metrics, step_metrics

NOISE = 0.03
"""Nats a token by which two engines in bfloat16 differ, or more."""


def scored(gaps: list[Tensor], mode: str, clip_max: float) -> dict[str, Tensor]:
    """A batch whose rows differ so much from the engine's log-probabilities; weights as TRL 1.16 has them."""
    gap_BT = torch.nn.utils.rnn.pad_sequence(gaps, batch_first=True)
    mask_BT = torch.nn.utils.rnn.pad_sequence([torch.ones(len(gap)) for gap in gaps], batch_first=True)
    weights = (gap_BT.sum(dim=1, keepdim=True) if mode.startswith("sequence") else gap_BT).exp()
    weights = weights.masked_fill(weights > clip_max, 0.0) if mode.endswith("mask") else weights.clamp(max=clip_max)
    sampler = torch.zeros_like(gap_BT)
    return {
        "completion_mask": mask_BT,
        "old_per_token_logps": gap_BT,
        "sampling_per_token_logps": sampler,
        "importance_sampling_ratio": weights,
    }


def of_noise(mode: str, clip_max: float) -> dict[str, float]:
    draw = torch.Generator().manual_seed(0)
    # Sampled by the engine: the mean of the weights is 1 before they are clipped.
    gaps = [NOISE * torch.randn(length, generator=draw) - NOISE**2 / 2 for length in [256] * 64 + [8192] * 64]
    return ratio_metrics(ratio_columns(scored(gaps, mode, clip_max), mode, clip_max))


def test_long_rollouts_keep_their_weight_by_token() -> None:
    found = of_noise("token_truncate", 2.0)
    assert found["ratio/long_over_short"] == pytest.approx(1, abs=0.01)
    assert found["ratio/applied"] == pytest.approx(1, abs=0.01) and found["ratio/ess"] > 0.99


def test_long_rollouts_lose_their_weight_by_sequence() -> None:
    found = of_noise("sequence_mask", 3.0)
    assert found["ratio/long_over_short"] < 0.3 and found["ratio/ess"] < 0.5


def test_ratios_are_those_before_the_clip() -> None:
    gaps = [torch.tensor([0.0, math.log(4.0)]), torch.tensor([0.0, 0.0])]
    found = ratio_metrics(ratio_columns(scored(gaps, "token_truncate", 2.0), "token_truncate", 2.0))
    assert found["ratio/mean"] == pytest.approx(7 / 4) and found["ratio/applied"] == pytest.approx(5 / 4)
    assert found["ratio/clipped"] == 1 / 4 and found["ratio/ess"] == pytest.approx(7**2 / (4 * 19))


def test_tokens_that_the_engine_could_not_score_or_the_loss_does_not_read_count_as_agreed() -> None:
    batch = scored([torch.tensor([0.0, 1.0, 1.0])], "token_truncate", 2.0)
    batch["sampling_per_token_logps"][0, 1] = math.nan
    batch["tool_mask"] = torch.tensor([[1, 1, 0]])
    found = ratio_metrics(ratio_columns(batch, "token_truncate", 2.0))
    assert found["ratio/mean"] == 1 and found["ratio/clipped"] == 0


def test_a_batch_without_a_trained_token_has_no_ratios() -> None:
    batch = scored([torch.zeros(3)], "token_truncate", 2.0)
    batch["completion_mask"] *= 0
    assert ratio_metrics(ratio_columns(batch, "token_truncate", 2.0)) == {}


@pytest.mark.parametrize("key", ["ratio/applied", "ratio/long_over_short"])
@pytest.mark.parametrize(("value", "warned"), [(0.0, True), (0.79, True), (0.81, False), (None, False)])
def test_weights_that_take_gradient_away_are_warned_about(
    tmp_path: Path, caplog, key: str, value: float | None, warned: bool
) -> None:
    args, state = TrainingArguments(output_dir=str(tmp_path), use_cpu=True), TrainerState(is_world_process_zero=True)
    with caplog.at_level(logging.WARNING):
        Watchdog(0.5, 10).on_log(args, state, TrainerControl(), logs={key: value})
    assert ("token_truncate" in caplog.text) == warned


def test_what_ranks_counted_is_added_up_and_the_slowest_is_waited_for() -> None:
    one = Counted(2, 30, {"verifier/judged": 2}, {"rollout": 1.0, "verify": 0.5})
    other = Counted(4, 90, {"verifier/judged": 4, "judge/unsure": 1}, {"rollout": 3.0})
    assert step_metrics([one, other]) == {
        "rollout/sampled": 20.0,
        "verifier/judged": 6.0,
        "judge/unsure": 1.0,
        "time/rollout": 3.0,
        "time/verify": 0.5,
    }
