"""What GFPO promises beyond the properties of every method, above all that giving up rollouts changes nothing."""

import random
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from concise_rl.methods import RolloutBatch, RunContext
from concise_rl.reading.trace import StopReason
from concise_rl.rollout.shortest import ShortestOnly
from reward import Gfpo, Grpo, build_objective
from reward.gfpo import inefficiency, smallest
from tests.reward.test_objectives import batch_of, groups

NAN = float("nan")


def given_up(batch: RolloutBatch, tokens: dict[int, int]) -> RolloutBatch:
    """The batch, had an engine given up some of its rollouts after so many tokens."""
    columns = {name: getattr(batch, name).clone() for name in ("correct", "length", "think_length")}
    finished_B, stop_B = batch.finished.clone(), batch.stop_reason.clone()
    for row, length in tokens.items():
        columns["correct"][row], columns["length"][row], columns["think_length"][row] = NAN, length, length
        finished_B[row], stop_B[row] = False, StopReason.ABORTED
    return replace(batch, finished=finished_B, stop_reason=stop_B, **columns)


def sampled_under(give_up: ShortestOnly, lengths: list[int], rng: random.Random) -> dict[int, int]:
    """Sample rollouts of known lengths a few tokens at a time. Returns those given up, with their tokens so far."""
    tokens, going, gone = [0] * len(lengths), set(range(len(lengths))), {}
    while going:
        for row in rng.sample(sorted(going), rng.randint(1, len(going))):
            tokens[row] = min(tokens[row] + rng.randint(1, 20), lengths[row])
            if tokens[row] == lengths[row]:
                give_up.end(row, lengths[row])
                going.remove(row)
        for row in [row for row in going if tokens[row] >= give_up.cap(row) and rng.random() < 0.8]:
            gone[row] = tokens[row]
            going.remove(row)
    return gone


@pytest.mark.parametrize("scale", ["group", "batch", "none"])
@settings(max_examples=150)
@given(groups(), st.integers(2, 8), st.randoms(use_true_random=False))
def test_giving_up_rollouts_changes_neither_advantages_nor_what_is_kept(scale: str, case, keep: int, rng) -> None:
    batch = batch_of(*case)
    size = batch.num_generations
    gone = sampled_under(ShortestOnly(keep, lambda row: row // size), batch.length.tolist(), rng)
    objective, spared = Gfpo(keep=keep, scale_rewards=scale), given_up(batch, gone)
    assert torch.equal(objective.advantages(spared), objective.advantages(batch))
    assert torch.equal(objective.kept_length(spared), objective.kept_length(batch))
    assert objective.metrics(spared) == pytest.approx(objective.metrics(batch), nan_ok=True)


def test_rollouts_are_given_up_in_that_test() -> None:
    gone = sampled_under(ShortestOnly(2, lambda row: 0), [5, 6, 200, 300, 400], random.Random(0))
    assert set(gone) == {2, 3, 4} and all(6 <= tokens < 200 for tokens in gone.values())


@given(groups(max_groups=1), st.integers(2, 8), st.data())
def test_any_rollout_that_is_longer_than_those_kept_may_be_given_up_at_their_length(case, keep: int, data) -> None:
    batch = batch_of(*case)
    longest_kept = sorted(batch.length.tolist())[min(keep, batch.num_generations) - 1]
    longer = [row for row, length in enumerate(batch.length.tolist()) if length > longest_kept]
    chosen = data.draw(st.sets(st.sampled_from(longer))) if longer else set()
    spared = given_up(batch, dict.fromkeys(chosen, longest_kept))
    assert torch.equal(Gfpo(keep=keep).advantages(spared), Gfpo(keep=keep).advantages(batch))
    assert torch.equal(Gfpo(keep=keep).kept(spared), Gfpo(keep=keep).kept(batch))


@pytest.mark.parametrize("reason", [StopReason.ABORTED, StopReason.ERROR])
def test_what_did_not_end_is_never_kept_even_where_too_few_ended(reason: StopReason) -> None:
    batch = given_up(batch_of([[1, 0, 1, 1]], [[9, 12, 30, 40]]), {0: 3, 3: 4})
    batch = replace(batch, stop_reason=torch.where(batch.stop_reason == StopReason.ABORTED, reason, batch.stop_reason))
    assert Gfpo(keep=3).kept_length(batch).tolist() == [0, 12, 30, 0]
    assert Gfpo(keep=3).advantages(batch).tolist() == pytest.approx([0, -0.7071, 0.7071, 0], abs=1e-3)


def test_the_shortest_are_kept_right_or_wrong_and_the_others_get_nothing() -> None:
    batch = batch_of([[1, 0, 1, 1]], [[40, 10, 20, 30]])
    assert Gfpo(keep=2).kept_length(batch).tolist() == [0, 10, 20, 0]
    assert Gfpo(keep=2, scale_rewards="none").advantages(batch).tolist() == [0, -0.5, 0.5, 0]


def test_the_most_efficient_are_kept_right_ones_first() -> None:
    batch = batch_of([[1, 0, 1, 1]], [[40, 10, 20, 30]])
    assert Gfpo(keep=2, metric="efficiency").kept_length(batch).tolist() == [0, 0, 20, 30]


@pytest.mark.parametrize("metric", ["length", "efficiency"])
def test_ties_go_to_the_earlier_member(metric: str) -> None:
    batch = batch_of([[0, 0, 0, 0], [1, 1, 1, 1]], [[7, 7, 7, 7]] * 2)
    assert Gfpo(keep=3, metric=metric).kept(batch).tolist() == [True, True, True, False] * 2


def test_without_a_verdict_a_rollout_keeps_its_place_among_the_shortest_and_stays_out_of_the_statistics() -> None:
    batch = batch_of([[NAN, 0, 1, 1]], [[5, 10, 20, 30]])
    assert Gfpo(keep=3).kept(batch).tolist() == [True, True, True, False]
    assert Gfpo(keep=3, scale_rewards="none").advantages(batch).tolist() == [0, -0.5, 0.5, 0]


def test_without_a_verdict_a_rollout_is_the_least_efficient_of_those_that_ended() -> None:
    assert inefficiency(torch.tensor([[NAN, 0.0, 1.0]]), torch.tensor([[1, 50, 50]])).argsort().tolist() == [[2, 1, 0]]
    batch = given_up(batch_of([[NAN, 0, 1, 1]], [[5, 10, 20, 30]]), {3: 6})
    assert Gfpo(keep=3, metric="efficiency").kept(batch).tolist() == [True, True, True, False]


def test_a_group_whose_kept_members_are_alike_gets_exactly_zero() -> None:
    batch = batch_of([[1, 1, 0, 1]], [[5, 6, 40, 41]])
    assert not Gfpo(keep=2).advantages(batch).any()


def test_keeping_all_of_a_group_is_grpo() -> None:
    batch = batch_of([[1, 0, NAN, 1]], [[5, 60, 64, 9]])
    assert torch.equal(Gfpo(keep=4).advantages(batch), Grpo().advantages(batch))


@pytest.mark.parametrize(
    ("options", "expected"), [({"keep": 8}, 8), ({"keep": 16}, None), ({"keep": 8, "metric": "efficiency"}, None)]
)
def test_an_engine_may_give_up_rollouts_where_length_alone_decides(options: dict, expected: int | None) -> None:
    assert Gfpo(**options).keep_shortest(16) == expected


def test_one_rollout_alone_cannot_be_kept() -> None:
    with pytest.raises(ValueError, match="keep: Input should be greater than or equal to 2"):
        build_objective("gfpo", {"keep": 1})


def test_a_group_holds_as_many_as_are_kept() -> None:
    Gfpo(keep=4).parts(RunContext.sketch(4))
    with pytest.raises(ValueError, match="gfpo keeps 5 rollouts of groups of 4: set keep to 4 or less"):
        Gfpo(keep=5).parts(RunContext.sketch(4))


def test_an_ineligible_member_is_not_among_the_smallest_whatever_its_key() -> None:
    eligible = torch.tensor([[False, True, True]])
    assert smallest(torch.tensor([[0, 5, 9]]), eligible, 3).tolist() == [[False, True, True]]


def test_what_is_kept_is_logged() -> None:
    batch = batch_of([[1, 0, NAN, 1]], [[10, 20, 30, 40]])
    assert Gfpo(keep=3).metrics(batch) == {"kept_length": 20.0, "kept_correct": 0.5}
