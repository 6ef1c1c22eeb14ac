"""Properties that hold for every method in the dict; what a method declares decides which apply to it."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from concise_rl.objective import Objective, RolloutBatch, group_advantages
from concise_rl.trace import StopReason
from reward import OBJECTIVES

EVERY = sorted(OBJECTIVES)
GROUP_SCOPE = [name for name in EVERY if OBJECTIVES[name].scope in ("rollout", "group")]
UNORDERED = [name for name in EVERY if not OBJECTIVES[name].ordered]
NOT_PAYING_WRONG = [name for name in EVERY if not OBJECTIVES[name].pays_wrong]
# What turns the length term of a method off.
WEIGHT_ZERO = {"length_penalty": {"alpha": 0.0}, "grpo_lambda": {"alpha": 0.0}, "grpo": {}}
CAP = 64


def batch_of(correct: list[list[float]], length: list[list[int]]) -> RolloutBatch:
    """A batch of (P, G) verdicts and lengths; what reaches the cap is unfinished."""
    length_B = torch.tensor(length).flatten()
    finished_B = length_B < CAP
    return RolloutBatch(
        correct=torch.tensor(correct, dtype=torch.float32).flatten(),
        length=length_B,
        think_length=(length_B - 2).clamp(min=0),
        finished=finished_B,
        stop_reason=torch.where(finished_B, int(StopReason.EOS), int(StopReason.LENGTH)),
        num_generations=len(correct[0]),
        max_length=CAP,
        step=0,
    )


def advantages_of(objective: Objective, batch: RolloutBatch) -> Tensor:
    """(P, G) advantages; of token-level methods their mean over the tokens."""
    advantages = objective.advantages(batch)
    return batch.grouped(advantages if advantages.ndim == 1 else advantages.mean(dim=1))


@st.composite
def groups(draw: st.DrawFn, max_groups: int = 4) -> tuple[list[list[float]], list[list[int]]]:
    """Verdicts (NaN among them) and lengths of some groups of equal size."""
    num_groups, size = draw(st.integers(1, max_groups)), draw(st.integers(2, 8))
    verdict = st.sampled_from([0.0, 1.0, 1.0, float("nan")])

    def rows(element: st.SearchStrategy) -> st.SearchStrategy:
        row = st.lists(element, min_size=size, max_size=size)
        return st.lists(row, min_size=num_groups, max_size=num_groups)

    return draw(rows(verdict)), draw(rows(st.integers(1, CAP)))


@pytest.mark.parametrize("name", EVERY)
@settings(max_examples=40, deadline=None)
@given(groups())
def test_advantages_are_finite_and_have_one_value_for_each_rollout(name: str, case) -> None:
    batch = batch_of(*case)
    advantages = OBJECTIVES[name]().advantages(batch)
    assert torch.isfinite(advantages).all()
    assert advantages.shape[0] == len(batch.correct)


@pytest.mark.parametrize("name", UNORDERED)
@settings(max_examples=40, deadline=None)
@given(groups(), st.randoms())
def test_the_order_inside_a_parallel_group_does_not_matter(name: str, case, random) -> None:
    correct, length = case
    order = list(range(len(correct[0])))
    random.shuffle(order)
    shuffled = batch_of([[row[i] for i in order] for row in correct], [[row[i] for i in order] for row in length])
    expected = advantages_of(OBJECTIVES[name](), batch_of(correct, length))[:, order]
    torch.testing.assert_close(advantages_of(OBJECTIVES[name](), shuffled), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", GROUP_SCOPE)
@settings(max_examples=40, deadline=None)
@given(groups(max_groups=4))
def test_other_groups_do_not_matter_to_a_method_of_group_scope(name: str, case) -> None:
    correct, length = case
    together = advantages_of(OBJECTIVES[name](), batch_of(correct, length))
    alone = advantages_of(OBJECTIVES[name](), batch_of(correct[:1], length[:1]))
    torch.testing.assert_close(together[:1], alone)


@pytest.mark.parametrize("scale", ["group", "batch", "none"])
@pytest.mark.parametrize("name", NOT_PAYING_WRONG)
@settings(max_examples=40, deadline=None)
@given(groups())
def test_a_wrong_rollout_never_beats_a_correct_one_through_length(name: str, scale: str, case) -> None:
    batch = batch_of(*case)
    advantages_PG = advantages_of(OBJECTIVES[name](scale_rewards=scale), batch)
    for advantages_G, earned_G in zip(advantages_PG, batch.grouped(batch.earned), strict=True):
        right_G, wrong_G = advantages_G[earned_G == 1], advantages_G[earned_G == 0]
        assert not len(right_G) or not len(wrong_G) or right_G.min() > wrong_G.max()


@pytest.mark.parametrize("name", NOT_PAYING_WRONG)
@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(1, CAP), min_size=4, max_size=4))
def test_a_group_that_is_all_wrong_gets_exactly_zero(name: str, lengths: list[int]) -> None:
    batch = batch_of([[0, 0, 0, 0], [1, 1, 0, 1]], [lengths, [5, 9, 7, 12]])
    assert (advantages_of(OBJECTIVES[name](), batch)[0] == 0).all()


@pytest.mark.parametrize("name", EVERY)
def test_a_group_alike_in_verdict_and_length_gets_exactly_zero(name: str) -> None:
    batch = batch_of([[1] * 7, [1, 0, 1, 1, 0, 1, 1]], [[17] * 7, [17] * 7])
    assert (advantages_of(OBJECTIVES[name](), batch)[0] == 0).all()


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("lengths", [[0, 1, 1, 0], [1, 1, 1, 1], [0, CAP - 1, 1, CAP]])
def test_lengths_of_zero_one_and_the_cap_are_taken(name: str, lengths: list[int]) -> None:
    batch = batch_of([[1, 1, 0, 1]], [lengths])
    assert torch.isfinite(advantages_of(OBJECTIVES[name](), batch)).all()


@pytest.mark.parametrize("name", EVERY)
def test_the_only_correct_rollout_of_a_group_has_the_only_positive_advantage(name: str) -> None:
    batch = batch_of([[0, 0, 1, 0]], [[3, 9, 60, 5]])
    assert (advantages_of(OBJECTIVES[name](), batch) > 0).tolist() == [[False, False, True, False]]


@pytest.mark.parametrize("name", NOT_PAYING_WRONG)
def test_an_unfinished_rollout_earns_nothing(name: str) -> None:
    batch = batch_of([[1, 1, 1, 0]], [[10, CAP, 12, 11]])
    cut, wrong = advantages_of(OBJECTIVES[name](), batch)[0, [1, 3]]
    assert cut == wrong < 0


@pytest.mark.parametrize("name", EVERY)
def test_a_rollout_without_a_verdict_gets_zero_and_does_not_move_the_others(name: str) -> None:
    nan = float("nan")
    with_it = advantages_of(OBJECTIVES[name](), batch_of([[1, 0, 1, nan]], [[5, 9, 12, 2]]))[0]
    without = advantages_of(OBJECTIVES[name](), batch_of([[1, 0, 1]], [[5, 9, 12]]))[0]
    assert with_it[3] == 0
    torch.testing.assert_close(with_it[:3], without)


@pytest.mark.parametrize("scale", ["group", "batch", "none"])
@pytest.mark.parametrize("name", sorted(WEIGHT_ZERO))
@settings(max_examples=40, deadline=None)
@given(groups())
def test_weight_zero_is_grpo_bit_for_bit(name: str, scale: str, case) -> None:
    batch = batch_of(*case)
    objective = OBJECTIVES[name](scale_rewards=scale, **WEIGHT_ZERO[name])
    expected = group_advantages(batch.grouped(batch.earned), scale).flatten()
    assert torch.equal(objective.advantages(batch), expected)


def test_every_method_with_a_weight_is_held_against_grpo() -> None:
    assert set(WEIGHT_ZERO) == set(OBJECTIVES)
