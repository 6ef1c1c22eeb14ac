"""Metrics of micro-batches as those of a step. In several layouts: test_layouts."""

from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from trl import GRPOTrainer

from concise_rl.train.means import TOKENS, weighed
from tests.concise_rl.train.test_trainer import trainer_of


def test_a_micro_batch_counts_by_its_tokens_in_the_loss() -> None:
    assert weighed([1.0, 4.0], [30, 10]) == 1.75
    assert weighed([0.0, 4.0], [0, 10]) == 4.0, "nothing of the first is in the loss"
    assert weighed([0.0, 0.0], [0, 0]) == 0.0


@pytest.fixture(scope="module")
def trainer(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return trainer_of(tmp_path_factory.mktemp("trainer"))


def logged(trainer: Any, monkeypatch, **metrics: list[float]) -> dict[str, list[float]]:
    """What TRL is left to log of these."""
    seen: dict[str, list[float]] = {}
    monkeypatch.setattr(GRPOTrainer, "log", lambda self, *_: seen.update(self._metrics["train"]))
    trainer.model.train()
    trainer._metrics["train"] = defaultdict(list, metrics)
    trainer.log({})
    return seen


def test_means_are_over_tokens_and_extremes_over_all_micro_batches(trainer: Any, monkeypatch) -> None:
    given = {"entropy": [1.0, 4.0], "clip_ratio/low_mean": [0.0, 0.4], "reward": [1.0, 2.0], TOKENS: [30, 10]}
    low_high = {"clip_ratio/low_min": [0.5, float("nan"), 0.25], "clip_ratio/high_max": [0.5, 0.75]}
    assert logged(trainer, monkeypatch, **given, **low_high) == {
        "entropy": [1.75],
        "clip_ratio/low_mean": [pytest.approx(0.1)],
        "clip_ratio/low_min": [0.25],
        "clip_ratio/high_max": [0.75],
        "reward": [1.0, 2.0],
    }


def test_ratios_of_whole_rollouts_are_not_weighed_by_tokens(trainer: Any, monkeypatch) -> None:
    monkeypatch.setattr(trainer, "importance_sampling_level", "sequence")
    found = logged(trainer, monkeypatch, **{"kl": [1.0, 4.0], "clip_ratio/low_mean": [0.0, 0.4], TOKENS: [30, 10]})
    assert found == {"kl": [1.75], "clip_ratio/low_mean": [0.0, 0.4]}


def test_a_window_that_began_without_counting_tokens_keeps_its_plain_mean(trainer: Any, monkeypatch) -> None:
    assert logged(trainer, monkeypatch, **{"entropy": [1.0, 2.0, 6.0], TOKENS: [30, 10]})["entropy"] == [1.0, 2.0, 6.0]


def test_a_run_logs_no_count_of_its_own(tmp_path: Path) -> None:
    trainer = trainer_of(tmp_path, max_steps=1)
    trainer.train()
    assert not trainer._metrics["train"] and not [key for key in trainer.state.log_history[0] if key.startswith("_")]
