"""What is logged of a batch, each metric by numbers worked out by hand."""

import math
from collections.abc import Sequence
from typing import Any

import pytest
import torch

from concise_rl.methods import RolloutBatch, StopReason
from concise_rl.train.metrics import (
    Counted,
    label_metrics,
    method_metrics,
    ratio_columns,
    ratio_metrics,
    reflection_metrics,
    rollout_metrics,
    step_metrics,
)
from reward import Grpo, SGrpo

NAN = float("nan")
EOS, LENGTH, EXIT, ABORTED = StopReason.EOS, StopReason.LENGTH, StopReason.FORCED_EXIT, StopReason.ABORTED


def batch_of(correct: Sequence[float], num_generations: int = 2, **columns: Any) -> RolloutBatch:
    """Rollouts that ended by themselves and answered, of 10 tokens under a cap of 100, unless `columns` say more."""
    size = len(correct)
    plain = {
        "length": [10] * size,
        "think_length": [6] * size,
        "closed": [True] * size,
        "finished": [True] * size,
        "stop_reason": [int(EOS)] * size,
    }
    facts = columns.pop("facts", {})
    given = {name: torch.tensor(values) for name, values in {**plain, **columns}.items()}
    return RolloutBatch(
        correct=torch.tensor(correct, dtype=torch.float32),
        num_generations=num_generations,
        max_length=100,
        step=0,
        facts={name: torch.tensor(values) for name, values in facts.items()},
        **given,
    )


def metrics_of(batch: RolloutBatch, advantages: Any = None, kept: Sequence[int] | None = None) -> dict[str, float]:
    """What is logged of rollouts; all of their tokens stay, and have no advantage, unless said otherwise."""
    given = torch.zeros(len(batch.correct)) if advantages is None else torch.tensor(advantages)
    return rollout_metrics(batch, given, batch.length if kept is None else torch.tensor(kept))


def test_groups_are_told_apart_by_the_verdicts_that_could_be_had() -> None:
    logged = metrics_of(batch_of([1, 1, 0, 0, 1, 0, NAN, 1]))
    assert logged["correct/mean"] == pytest.approx(4 / 7)
    assert (logged["groups/all_correct"], logged["groups/all_wrong"], logged["groups/mixed"]) == (2 / 4, 1 / 4, 1 / 4)


def test_a_group_without_a_verdict_is_of_no_kind() -> None:
    logged = metrics_of(batch_of([NAN, NAN, 1, 0]))
    assert (logged["groups/all_correct"], logged["groups/all_wrong"], logged["groups/mixed"]) == (0, 0, 1 / 2)
    assert logged["correct/mean"] == 1 / 2


def test_no_verdict_at_all_is_no_accuracy() -> None:
    assert math.isnan(metrics_of(batch_of([NAN, NAN]))["correct/mean"])


def test_what_was_given_up_is_neither_wrong_nor_cut() -> None:
    given_up = {"finished": [True, False], "stop_reason": [EOS, ABORTED], "length": [10, 40]}
    logged = metrics_of(batch_of([1, NAN], **given_up))
    assert logged["correct/mean"] == logged["groups/all_correct"] == 1
    assert logged["rollout/cut"] == 0 and logged["stop/aborted"] == 1 / 2


def test_what_was_given_up_has_spared_at_most_the_rest_of_its_cap() -> None:
    given_up = {"finished": [True, False], "stop_reason": [EOS, ABORTED], "length": [10, 40]}
    assert metrics_of(batch_of([1, NAN], **given_up))["rollout/spared_at_most"] == (100 - 40) / 2
    assert metrics_of(batch_of([1, 0]))["rollout/spared_at_most"] == 0


def test_a_right_answer_that_its_cap_cut_counts_as_wrong_and_as_cut() -> None:
    cut = {"finished": [False, True, True, True], "stop_reason": [LENGTH, EOS, EOS, EOS]}
    logged = metrics_of(batch_of([1, 1, 1, 0], **cut))
    assert logged["correct/mean"] == 2 / 4 and logged["groups/mixed"] == 2 / 2
    assert logged["rollout/cut"] == logged["stop/length"] == 1 / 4 and logged["stop/eos"] == 3 / 4


def test_exits_are_cut_by_a_cap_of_their_own() -> None:
    reasons = {"stop_reason": [EOS, LENGTH, EXIT, EXIT, EXIT, EXIT], "finished": [True, False, True, True, True, False]}
    logged = metrics_of(batch_of([1, 0, 1, 1, 1, 1], **reasons))
    assert logged["rollout/cut"] == 1 / 2 and logged["rollout/exits_cut"] == 1 / 4
    assert logged["stop/forced_exit"] == pytest.approx(4 / 6)


def test_a_batch_without_exits_logs_nothing_of_them() -> None:
    assert "rollout/exits_cut" not in metrics_of(batch_of([1, 0]))


def test_only_what_stopped_inside_its_thinking_has_ended_thinking() -> None:
    # An answer; stopped in the thinking; closed twice, so that there is no answer; cut in the thinking.
    columns = {
        "closed": [True, False, False, False],
        "think_length": [6, 9, 3, 9],
        "finished": [True, True, True, False],
    }
    assert metrics_of(batch_of([1, 0, 0, 0], **columns))["rollout/ended_thinking"] == 1 / 4


def test_lengths_are_means_over_all_over_the_right_ones_and_over_the_thinking() -> None:
    columns = {"length": [10, 20, 30, 40], "think_length": [5, 5, 5, 25], "finished": [True, True, True, False]}
    logged = metrics_of(batch_of([1, 0, 1, 1], **columns))
    assert (logged["length/mean"], logged["length/correct"], logged["length/think"]) == (25, 20, 10)


def test_right_rollouts_have_no_length_where_there_are_none() -> None:
    assert math.isnan(metrics_of(batch_of([0, 0]))["length/correct"])


def test_the_trained_share_is_one_of_tokens() -> None:
    assert metrics_of(batch_of([1, 0], length=[10, 30]), kept=[10, 0])["rollout/trained"] == 10 / 40


@pytest.mark.parametrize(
    ("advantages", "silent"),
    [
        ([0.0, 0.0, 1.0, -1.0], 1 / 2),
        ([0.0, 0.0, 0.0, 0.0], 1),
        ([[0.0, 0.0], [0.0, 0.0], [0.0, 0.0], [0.0, -0.5]], 1 / 2),
        ([[0.0, 0.1], [0.0, 0.0], [0.0, 0.0], [0.0, -0.5]], 0),
    ],
)
def test_a_group_has_a_signal_where_any_of_its_tokens_has_an_advantage(advantages: list, silent: float) -> None:
    assert metrics_of(batch_of([1, 1, 1, 0]), advantages)["groups/no_signal"] == silent


LABELS: dict[str, Any] = {
    "redundant": [[2, 6], [6, 6], [5, 6], [1, 6]],
    "necessary": [0.5, 0.0, 1.0, 0.25],
}


def test_labels_are_logged_of_right_rollouts_that_ended() -> None:
    batch = batch_of([1, 1, 1, 1], finished=[True, True, True, False], facts=LABELS)
    assert label_metrics(batch) == {
        "redundant/stated": pytest.approx(2 / 3),
        "redundant/necessary_ratio": (0.5 + 1.0) / 2,
        "redundant/tokens": (4 + 1) / 2,
    }


def test_thinking_that_never_states_the_answer_has_no_necessary_share() -> None:
    facts = {"redundant": [[6, 6], [6, 6]], "necessary": [0.0, 0.0]}
    assert label_metrics(batch_of([1, 0], facts=facts)) == {"redundant/stated": 0}


def test_without_labels_or_without_a_right_rollout_nothing_is_logged_of_them() -> None:
    assert label_metrics(batch_of([1, 1, 1, 1])) == {}
    assert label_metrics(batch_of([0, 0, 0, NAN], facts=LABELS)) == {}


def test_reflections_are_a_mean_over_all_rollouts_where_somebody_counted() -> None:
    assert reflection_metrics(batch_of([1, 0], facts={"reflections": [3, 0]})) == {"reflections/mean": 1.5}
    assert reflection_metrics(batch_of([1, 0])) == {}


class Logged(Grpo):
    """GRPO that logs something of its own."""

    def metrics(self, batch: RolloutBatch) -> dict[str, float]:
        return {"own": 2.0}


def test_the_reward_of_a_method_is_the_mean_over_what_could_be_judged() -> None:
    assert method_metrics(Logged(), batch_of([1, 0, 1, NAN])) == {
        "objective/own": 2.0,
        "objective/reward": pytest.approx(2 / 3),
    }


def test_a_method_that_is_no_reward_logs_none() -> None:
    assert method_metrics(SGrpo(), batch_of([1, 0])) == {}


def test_a_counter_that_one_rank_has_not_is_summed_over_the_others() -> None:
    logged = step_metrics([Counted(1, 5, {"judge/unsure": 2}, {}), Counted(3, 7, {}, {"label": 0.25})])
    assert logged == {"rollout/sampled": 12 / 4, "judge/unsure": 2.0, "time/label": 0.25}


def scored(gaps: Sequence[Sequence[float]], applied: Sequence[Sequence[float]]) -> dict[str, torch.Tensor]:
    """A batch of TRL's: by how much each token's log-probability differs, and the weights in the loss."""
    rows = [torch.tensor(gap) for gap in gaps]
    return {
        "completion_mask": torch.nn.utils.rnn.pad_sequence([torch.ones(len(row)) for row in rows], batch_first=True),
        "old_per_token_logps": torch.nn.utils.rnn.pad_sequence(rows, batch_first=True),
        "sampling_per_token_logps": torch.zeros(len(rows), max(map(len, rows))),
        "importance_sampling_ratio": torch.nn.utils.rnn.pad_sequence(
            [torch.tensor(weights) for weights in applied], batch_first=True
        ),
    }


def ratios_of(batch: dict[str, torch.Tensor], mode: str, clip_max: float | None) -> dict[str, float]:
    return ratio_metrics(ratio_columns(batch, mode, clip_max))


@pytest.mark.parametrize("mode", ["token_truncate", "sequence_mask"])
def test_weights_of_an_engine_that_agrees_are_1(mode: str) -> None:
    by_sequence = mode.startswith("sequence")
    applied = [[1.0], [1.0]] if by_sequence else [[1.0, 1.0], [1.0]]
    assert ratios_of(scored([[0.0, 0.0], [0.0]], applied), mode, 2.0) == {
        "ratio/mean": 1,
        "ratio/clipped": 0,
        "ratio/ess": 1,
        "ratio/applied": 1,
        "ratio/long_over_short": 1,
    }


def test_a_weight_by_sequence_is_one_of_each_rollout() -> None:
    two = math.log(2)
    found = ratios_of(scored([[two, two], [0.0, 0.0]], [[0.0], [1.0]]), "sequence_mask", 3.0)
    assert found["ratio/mean"] == pytest.approx((4 + 1) / 2)
    assert found["ratio/ess"] == pytest.approx(5**2 / (2 * 17))
    assert found["ratio/clipped"] == found["ratio/applied"] == 1 / 2


def test_nothing_is_beyond_a_clip_that_is_not_set() -> None:
    assert ratios_of(scored([[9.0]], [[math.exp(9.0)]]), "token_truncate", None)["ratio/clipped"] == 0


def test_long_over_short_compares_the_quarters_by_what_the_loss_applies() -> None:
    gaps = [[0.0] * length for length in (4, 1, 3, 2)]
    applied = [[0.5, 0.5, 0.5, 0.0], [0.75], [1.0] * 3, [1.0] * 2]
    found = ratios_of(scored(gaps, applied), "token_truncate", 2.0)
    assert found["ratio/long_over_short"] == pytest.approx((1.5 / 4) / 0.75)
    assert found["ratio/applied"] == pytest.approx((1.5 + 0.75 + 3 + 2) / 10)
