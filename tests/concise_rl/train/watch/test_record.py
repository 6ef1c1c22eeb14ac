"""Rollouts of a few steps are kept for a person to read, and nothing of the training depends on it."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from concise_rl.files import read_lines
from concise_rl.train.watch.record import advantage_facts, due_steps
from reward import LcR1, LengthPenalty
from tests.concise_rl.train.test_resume import steps_of
from tests.concise_rl.train.test_trainer import trainer_of
from tests.concise_rl.train.watch.conftest import train


def groups_of(folder: Path) -> list[dict[str, Any]]:
    """The recorded groups of a run."""
    return read_lines(folder / "rollouts.jsonl")


@pytest.mark.parametrize(
    ("num_steps", "max_steps", "due"),
    [(3, 9, [1, 5, 9]), (20, 3, [1, 2, 3]), (1, 9, [1]), (0, 9, []), (5, 1, [1]), (2, 100, [1, 100])],
)
def test_recorded_steps_are_spread_over_the_run(num_steps: int, max_steps: int, due: list[int]) -> None:
    assert due_steps(num_steps, max_steps) == due


def test_the_worth_of_a_part_is_the_mean_over_its_tokens() -> None:
    parts = [("thinking", 0, 2), ("redundant", 2, 4), ("answer", 4, 6)]
    advantage = torch.tensor([1.0, 3.0, -1.0, -1.0, 2.0, 2.0, 9.0, 9.0])  # padded behind its end
    assert advantage_facts(advantage, 6, parts, (0, 0)) == {
        "advantage": 1.0,
        "advantage_by_part": {"thinking": 2.0, "redundant": -1.0, "answer": 2.0},
    }


def test_what_is_not_trained_on_is_worth_nothing_that_is_known() -> None:
    parts = [("thinking", 0, 2), ("redundant", 2, 4), ("answer", 4, 6)]
    advantage = torch.tensor([1.0, 3.0, 2.0, 2.0])
    by_part = advantage_facts(advantage, 6, parts, (2, 4))["advantage_by_part"]
    assert by_part == {"thinking": 2.0, "redundant": None, "answer": 2.0}


def test_a_recorded_group_is_what_was_trained_on(trained: Path) -> None:
    groups, steps = groups_of(trained), read_lines(trained / "metrics.jsonl")
    assert [(group["step"], len(group["rollouts"])) for group in groups] == [(1, 4), (2, 4)]
    for group in groups:
        assert group["prompt"].startswith("<user>") and group["prompt"].endswith("<assistant>")
        for rollout in group["rollouts"]:
            parts = dict(rollout["parts"])
            assert parts["thinking"].startswith("<think>")
            assert rollout["correct"] in (0.0, 1.0)
            assert ("answer" in parts) or rollout["correct"] == 0.0
            assert rollout["stop"] == ("eos" if "end" in parts else "length")
            assert ("redundant" in parts) == bool(rollout["redundant_tokens"])
    assert any("redundant" in dict(r["parts"]) for group in groups for r in group["rollouts"])
    assert {"step", "unix_time", "loss"} <= steps[0].keys()


def test_recording_and_showing_change_no_number_of_the_training(trained: Path, tmp_path: Path) -> None:
    train(tmp_path, page_every=0, record_steps=0)
    assert steps_of(tmp_path / "metrics.jsonl") == steps_of(trained / "metrics.jsonl")
    assert (trained / "run.html").is_file() and (trained / "rollouts.jsonl").is_file()
    assert not (tmp_path / "run.html").exists() and not (tmp_path / "rollouts.jsonl").exists()


def test_a_cropped_rollout_is_recorded_as_it_was_sampled(tmp_path: Path) -> None:
    trainer_of(tmp_path, LcR1(), max_steps=1).train()
    rollouts = [rollout for group in groups_of(tmp_path) for rollout in group["rollouts"]]
    cropped = [rollout for rollout in rollouts if rollout["redundant_tokens"]]
    assert cropped
    for rollout in cropped:
        assert rollout["trained_tokens"] == rollout["tokens"] - rollout["redundant_tokens"]
        assert dict(rollout["parts"])["redundant"]


def test_a_run_that_begins_anew_replaces_what_it_recorded(tmp_path: Path) -> None:
    (tmp_path / "rollouts.jsonl").write_text(json.dumps({"step": 7, "rollouts": []}) + "\n")
    trainer_of(tmp_path, LengthPenalty(), max_steps=1, max_completion_length=32, record_groups=1).train()
    assert [group["step"] for group in groups_of(tmp_path)] == [1]
