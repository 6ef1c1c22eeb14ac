"""What L1 promises beyond the properties of every method: what prompts ask for, and what heeding it earns."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import TrainerCallback

from concise_rl.methods import RolloutBatch
from reward import L1Exact, L1Max, build_objective
from reward.l1 import ExactTarget, MaxTarget
from tests.concise_rl.train.test_trainer import trainer_of
from tests.reward.test_objectives import CAP, batch_of

NAN = float("nan")
ROW = {"prompt": "What is 1 + 2?", "answer": "3"}


def asked(correct: list[float], length: list[int], target: float, exact: float = 0.0) -> RolloutBatch:
    """One group that was asked for so many tokens."""
    batch, ones_B = batch_of([correct], [length]), torch.ones(len(length))
    return replace(batch, facts={**batch.facts, "target": target * ones_B, "exact": exact * ones_B})


def test_an_exact_target_is_asked_for_behind_the_prompt() -> None:
    row, facts = ExactTarget(low=50, high=50).write(ROW, np.random.default_rng(0))
    assert row == {"prompt": "What is 1 + 2? Think for 50 tokens.", "answer": "3"}
    assert facts == {"target": 50}


def test_a_bound_is_asked_for_behind_the_prompt() -> None:
    row, facts = MaxTarget(low=50, high=50).write(ROW, np.random.default_rng(0))
    assert row["prompt"] == "What is 1 + 2? Think for maximum 50 tokens."
    assert facts == {"target": 50, "exact": 0.0}


def test_a_conversation_is_asked_in_its_last_turn_of_the_user() -> None:
    turns = [{"role": "system", "content": "Think."}, {"role": "user", "content": "What is 1 + 2?"}]
    row, _ = ExactTarget(low=50, high=50).write({"prompt": turns}, np.random.default_rng(0))
    assert [turn["content"] for turn in row["prompt"]] == ["Think.", "What is 1 + 2? Think for 50 tokens."]
    assert turns[1]["content"] == "What is 1 + 2?", "the row of the data set stays as it is"


@pytest.mark.parametrize("writer", [ExactTarget(), MaxTarget(exact_share=0.5)])
def test_a_request_is_drawn_from_its_generator_alone(writer: ExactTarget) -> None:
    def first(seed: int) -> tuple:
        return writer.write(ROW, np.random.default_rng(seed))

    assert first(7) == first(7)
    assert len({first(seed)[0]["prompt"] for seed in range(20)}) > 15


def test_targets_are_drawn_evenly_and_reach_both_ends() -> None:
    rng, writer = np.random.default_rng(0), ExactTarget(low=3, high=6)
    drawn = [writer.write(ROW, rng)[1]["target"] for _ in range(2000)]
    assert set(drawn) == {3, 4, 5, 6}
    assert min(drawn.count(n) for n in set(drawn)) > 400


def test_a_share_of_the_groups_is_asked_for_an_exact_length() -> None:
    rng, writer = np.random.default_rng(0), MaxTarget(exact_share=0.25)
    written = [writer.write(ROW, rng) for _ in range(2000)]
    assert 420 < sum(facts["exact"] for _, facts in written) < 580
    assert all(("maximum" in row["prompt"]) != facts["exact"] for row, facts in written)


@pytest.mark.parametrize("writer", [ExactTarget(), MaxTarget()])
def test_a_writer_gives_the_facts_that_it_declares(writer: ExactTarget) -> None:
    _, facts = writer.write(ROW, np.random.default_rng(0))
    assert list(facts) == [fact.name for fact in writer.facts]


@pytest.mark.parametrize("name", ["l1_exact", "l1_max"])
def test_bounds_out_of_order_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="low is 9 and high 8: give them in order"):
        build_objective(name, {"low": 9, "high": 8})


def test_missing_an_exact_target_costs_by_the_token_right_or_wrong() -> None:
    rewards = L1Exact(alpha=0.01).rewards(asked([1, 1, 1, 0, NAN], [20, 10, 35, 35, 20], target=20))
    assert rewards.tolist() == pytest.approx([1, 0.9, 0.85, -0.15, NAN], nan_ok=True)


def test_far_off_its_target_a_right_rollout_earns_less_than_a_wrong_one_on_it() -> None:
    right, wrong = L1Exact(alpha=0.05).rewards(asked([1, 0], [60, 20], target=20))
    assert right < wrong


def test_a_bound_pays_right_rollouts_alone_half_at_the_bound_and_more_below() -> None:
    method = L1Max(alpha=0.05)
    rewards = method.rewards(asked([1, 1, 1, 1, 0, NAN], [20, 16, 5, 40, 5, 20], target=20))
    assert rewards.tolist() == pytest.approx([0.5, 0.7, 1, 0, 0, NAN], nan_ok=True)


def test_each_group_is_paid_by_what_it_was_asked() -> None:
    batch = asked([1, 0], [25, 25], target=20, exact=1.0)
    assert L1Max(alpha=0.01).rewards(batch).tolist() == pytest.approx([0.95, -0.05])


def test_a_cut_rollout_earns_what_a_wrong_one_does() -> None:
    for method, exact in ((L1Exact(), 1.0), (L1Max(), 0.0), (L1Max(exact_share=1), 1.0)):
        cut, wrong = method.rewards(asked([1, 0], [CAP, CAP], target=20, exact=exact))
        assert cut == wrong


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_wrong_rollouts_are_credited_by_length_only_where_exact_targets_are_asked(share: float) -> None:
    assert L1Max(exact_share=share).credit.wrong == (share > 0)
    assert L1Exact().credit.wrong


def test_how_targets_are_heeded_is_logged() -> None:
    batch = asked([1, 0, 1], [10, 20, 45], target=20)
    assert L1Exact().metrics(batch) == pytest.approx({"target": 20.0, "missed_by": 35 / 3, "above": 1 / 3})
    heeded = replace(batch, facts={**batch.facts, "target": torch.tensor([30.0, 40.0, 65.0])})
    assert L1Max().metrics(heeded)["correlation"] == pytest.approx(1.0)


@pytest.mark.parametrize(("method", "exact"), [(L1Exact(alpha=0.02), 1.0), (L1Max(alpha=0.02), 0.0)])
def test_a_policy_that_can_tell_targets_apart_learns_to_heed_them(method: L1Exact | L1Max, exact: float) -> None:
    torch.manual_seed(0)
    targets, logits_PL = torch.tensor([12.0, 40.0]), torch.zeros(2, CAP, requires_grad=True)
    optimizer = torch.optim.Adam([logits_PL], lr=0.05)
    for _ in range(150):
        policy = torch.distributions.Categorical(logits=logits_PL)
        length_GP = policy.sample(torch.Size([16]))
        batch = batch_of([[1.0] * 16] * 2, (length_GP.T + 1).tolist())
        known = {"target": targets.repeat_interleave(16), "exact": torch.full((32,), exact)}
        advantages_PG = batch.grouped(method.advantages(replace(batch, facts={**batch.facts, **known})))
        optimizer.zero_grad()
        (-(policy.log_prob(length_GP).T * advantages_PG).mean()).backward()
        optimizer.step()
    lengths_P = (logits_PL.softmax(dim=1) * torch.arange(1, CAP + 1)).sum(dim=1)
    assert (lengths_P < targets + 3).all()
    assert not exact or (lengths_P - targets).abs().max() < 3


class Noting(TrainerCallback):
    """Notes what was asked in each step of a run."""

    def __init__(self) -> None:
        self.asked: list[tuple[list[list[float]], list[str]]] = []

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        credited = self.trainer.credited
        prompts = [row["prompt"][-1]["content"] for row in credited.judged.rows]
        self.asked.append((credited.batch.grouped(credited.batch.fact("target")).tolist(), prompts))


@pytest.mark.slow
def test_a_run_asks_a_group_alike_and_other_groups_and_steps_otherwise(tmp_path: Path) -> None:
    noting = Noting()
    noting.trainer = trainer_of(tmp_path, L1Exact(low=1, high=10**6), max_completion_length=16)
    noting.trainer.add_callback(noting)
    noting.trainer.train()
    targets = [group for groups, _ in noting.asked for group in groups]
    assert len(targets) == 4 and all(len(set(group)) == 1 for group in targets)
    assert len({group[0] for group in targets}) == 4
    for groups, prompts in noting.asked:
        behind = [f" Think for {target:.0f} tokens." for group in groups for target in group]
        assert all(prompt.endswith(text) for prompt, text in zip(prompts, behind, strict=True))
