"""Properties that hold for every method in the dict; what a method declares decides which apply to it."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from concise_rl.methods import (
    Objective,
    RolloutBatch,
    SequenceReward,
    StopReason,
    group_advantages,
)
from reward import OBJECTIVES, build_objective
from tests.reward.options import (
    EVERY,
    PLAIN,
    Drawn,
    crops,
    drops,
    of_its_group,
    ordered,
    over,
    over_options,
    parts_of,
    pays_steps,
    stands_alone,
)

CAP = 64
# What turns the length mechanism of a method off.
WEIGHT_ZERO: dict[str, dict[str, Any]] = {
    "acoer": {"alpha_init": 0.0, "format_weight": 0.0},
    "conciser": {"coef": 0.0},
    "ddca": {"beta": 0.0, "estimator": "rloo"},
    "decs": {"beta": 0.0, "eps": 1e-4},
    "dot": {"std_multiplier": 1e6},
    "elastic": {},
    "gfpo": {"keep": 8},
    "gppo": {},
    "grpo": {},
    "grpo_lambda": {"alpha": 0.0},
    "hapo": {"weight": 0.0},
    "jet": {"alpha": 0.0, "delta": 0.0, "format_weight": 0.0},
    "l1_exact": {"alpha": 0.0},
    "l1_max": {"alpha": 0.0, "delta": 1.0},
    "lc_r1": {"len_coef": 0.0, "think_end_coef": 0.0, "format_weight": 0.0},
    "length_penalty": {"alpha": 0.0},
    "mrt": {"alpha": 0.0},
    "s_grpo": {"decay": 1.0},
    "thinkprune": {"limits": (CAP,)},
}


def batch_of(correct: list[list[float]], length: list[list[int]]) -> RolloutBatch:
    """A batch of (P, G) verdicts and lengths; what reaches the cap is unfinished.

    Right rollouts are redundant in the second half of their thinking, except that lengths divisible by 5 never state
    the answer there. For a method that crops, lengths are those after the crop. Of right rollouts each half of the
    thinking adds half to the share of right answers, where answers are forced on the way.
    """
    length_B = torch.tensor(length).flatten()
    correct_B = torch.tensor(correct, dtype=torch.float32).flatten()
    think_B, finished_B = (length_B - 2).clamp(min=0), length_B < CAP
    stated_B = (correct_B == 1) & (length_B % 5 != 0)
    places_B3 = torch.stack([torch.zeros_like(think_B), think_B // 2, think_B], dim=1)
    is_place_B3 = (think_B[:, None] > 1) | (torch.arange(3) == 0)
    shares_B3 = torch.tensor([0, 0.5, 1]) * ((correct_B == 1) & finished_B)[:, None]
    return RolloutBatch(
        correct=correct_B,
        length=length_B,
        think_length=think_B,
        closed=(length_B > think_B + 1) | (correct_B == 1),  # what has no answer is not right
        finished=finished_B,
        stop_reason=torch.where(finished_B, int(StopReason.EOS), int(StopReason.LENGTH)),
        num_generations=len(correct[0]),
        max_length=CAP,
        step=0,
        facts={
            "redundant": torch.stack([torch.where(stated_B, (think_B + 1) // 2, think_B), think_B], dim=1),
            "necessary": 0.5 * stated_B,
            "probe_at": places_B3.masked_fill(~is_place_B3, -1),
            "probe_correct": shares_B3.masked_fill(~is_place_B3, torch.nan),
        },
    )


def read_by(method: Objective, batch: RolloutBatch) -> RolloutBatch:
    """The batch as the method is given it at the second visit: with facts of its prompts and problems, and memory."""
    parts, rng = parts_of(method), np.random.default_rng(0)
    groups_P = range(len(batch.correct) // batch.num_generations)
    known_P: list[dict[str, Any]] = [dict.fromkeys((fact.name for fact in parts.facts), group) for group in groups_P]
    if parts.prompts:
        known_P = [known | parts.prompts.write({"prompt": ""}, rng)[1] for known in known_P]
    of_group = {
        fact.name: torch.tensor([known[fact.name] for known in known_P], dtype=fact.dtype) for fact in parts.facts
    }
    of_rollout = {name: values_P.repeat_interleave(batch.num_generations) for name, values_P in of_group.items()}
    batch = replace(batch, facts={**of_rollout, **batch.facts}, memory=method.initial())
    return replace(batch, memory=method.learn(batch))


def advantages_of(objective: Objective, batch: RolloutBatch) -> Tensor:
    """(P, G) advantages; of token-level methods their mean over the rollout's own tokens."""
    batch = read_by(objective, batch)
    advantages = objective.advantages(batch)
    if advantages.ndim == 1:
        return batch.grouped(advantages)
    is_own_BT = torch.arange(advantages.size(1)) < batch.length[:, None]
    return batch.grouped((advantages * is_own_BT).sum(dim=1) / batch.length.clamp(min=1))


def kept_of(objective: Objective, batch: RolloutBatch) -> Tensor:
    """(P, G) tokens that stay in the loss."""
    return batch.grouped(objective.kept_length(batch))


def paid(objective: Objective, batch: RolloutBatch) -> Tensor:
    """(B,) correctness as the method pays it before lengths come in."""
    return batch.correct if objective.credit.unfinished else batch.earned


def scaled(objective: Objective, scale: str) -> Objective:
    """The method with another normalisation, where it leaves that open."""
    return objective.model_copy(update={"scale_rewards": scale} if isinstance(objective, SequenceReward) else {})


@st.composite
def groups(draw: st.DrawFn, max_groups: int = 4, ties: bool = True) -> tuple[list[list[float]], list[list[int]]]:
    """Verdicts (NaN among them) and lengths of some groups of equal size, with or without equal lengths in a group."""
    num_groups, size = draw(st.integers(1, max_groups)), draw(st.integers(2, 8))
    verdict = st.sampled_from([0.0, 1.0, 1.0, float("nan")])

    def rows(element: st.SearchStrategy, unique: bool = False) -> st.SearchStrategy:
        row = st.lists(element, min_size=size, max_size=size, unique=unique)
        return st.lists(row, min_size=num_groups, max_size=num_groups)

    return draw(rows(verdict)), draw(rows(st.integers(1, CAP), unique=not ties))


@over_options()
@settings(max_examples=40)
@given(st.data(), groups())
def test_advantages_are_finite_and_have_one_value_for_each_rollout_or_token(methods: Drawn, data: Any, case) -> None:
    objective = data.draw(methods)
    batch = read_by(objective, batch_of(*case))
    advantages = objective.advantages(batch)
    assert torch.isfinite(advantages).all()
    assert advantages.shape == (
        (len(batch.correct), batch.length.max()) if objective.credit.by_token else batch.length.shape
    )


# Equal lengths aside: a method that drops some of a group's members has to choose among those by their place.
@over_options(lambda method: not ordered(method))
@settings(max_examples=40)
@given(st.data(), groups(ties=False), st.randoms())
def test_the_order_inside_a_parallel_group_does_not_matter(methods: Drawn, data: Any, case, random) -> None:
    assert_order_does_not_matter(data.draw(methods), *case, random)


def assert_order_does_not_matter(objective: Objective, correct: list, length: list, random: Any) -> None:
    """What a method gives to the members of a group, it gives to them in any other order, too."""
    order = list(range(len(correct[0])))
    random.shuffle(order)
    batch = batch_of(correct, length)
    shuffled = batch_of([[row[i] for i in order] for row in correct], [[row[i] for i in order] for row in length])
    expected = advantages_of(objective, batch)[:, order]
    torch.testing.assert_close(advantages_of(objective, shuffled), expected, atol=1e-5, rtol=1e-5)
    assert torch.equal(kept_of(objective, shuffled), kept_of(objective, batch)[:, order])


@over_options(lambda method: not ordered(method) and not drops(method))
@settings(max_examples=40)
@given(st.data(), groups(), st.randoms())
def test_equal_lengths_do_not_bring_the_order_in_where_nothing_is_dropped(
    methods: Drawn, data: Any, case, random
) -> None:
    assert_order_does_not_matter(data.draw(methods), *case, random)


@over_options(of_its_group)
@settings(max_examples=40)
@given(st.data(), groups(max_groups=4))
def test_other_groups_do_not_matter_to_a_method_of_group_scope(methods: Drawn, data: Any, case) -> None:
    objective = data.draw(methods)
    correct, length = case
    together, alone = batch_of(correct, length), batch_of(correct[:1], length[:1])
    torch.testing.assert_close(advantages_of(objective, together)[:1], advantages_of(objective, alone))
    assert torch.equal(kept_of(objective, together)[:1], kept_of(objective, alone))


@over_options(lambda method: not method.credit.wrong)
@settings(max_examples=60)
@given(st.data(), groups())
def test_a_wrong_rollout_never_beats_a_correct_one_through_length(methods: Drawn, data: Any, case) -> None:
    assert all(right >= wrong for right, wrong in least_right_and_best_wrong(data.draw(methods), *case))


@over(PLAIN, lambda method: not method.credit.wrong)
@settings(max_examples=40)
@given(groups())
def test_a_correct_rollout_beats_every_wrong_one_with_default_options(objective: Objective, case) -> None:
    assert all(right > wrong for right, wrong in least_right_and_best_wrong(objective, *case))


def least_right_and_best_wrong(objective: Objective, correct: list, length: list) -> list[tuple[float, float]]:
    """The two advantages, of each group in which both kinds stay in the loss."""
    batch = batch_of(correct, length)
    kept_PG, paid_PG = kept_of(objective, batch) > 0, batch.grouped(paid(objective, batch))
    columns = zip(advantages_of(objective, batch), kept_PG & (paid_PG == 1), kept_PG & (paid_PG == 0), strict=True)
    mixed = [(own_G[right_G], own_G[wrong_G]) for own_G, right_G, wrong_G in columns if right_G.any() and wrong_G.any()]
    return [(right.min().item(), wrong.max().item()) for right, wrong in mixed]


@over_options(lambda method: not method.credit.wrong and not method.credit.form and not pays_steps(method))
@settings(max_examples=20)
@given(st.data(), st.lists(st.integers(1, CAP), min_size=4, max_size=4))
def test_a_group_that_is_all_wrong_gets_exactly_zero(methods: Drawn, data: Any, lengths: list[int]) -> None:
    assert_nothing_for_the_wrong(data.draw(methods), lengths)


def assert_nothing_for_the_wrong(objective: Objective, lengths: list[int]) -> None:
    """A group that is all wrong has no advantage, whatever is beside it."""
    batch = batch_of([[0, 0, 0, 0], [1, 1, 0, 1]], [lengths, [5, 9, 7, 12]])
    assert (advantages_of(objective, batch)[0] == 0).all()


@over_options(lambda method: method.credit.form)
@settings(max_examples=20)
@given(st.data(), st.lists(st.integers(3, CAP - 1), min_size=4, max_size=4))
def test_a_group_that_is_all_wrong_in_due_form_gets_exactly_zero(methods: Drawn, data: Any, lengths: list[int]) -> None:
    assert_nothing_for_the_wrong(data.draw(methods), lengths)


# A method that pays by place tells apart what verdict and length do not; one that crops pays for that as well.
@over(EVERY, lambda method: not any(has(method) for has in (ordered, crops, stands_alone, pays_steps)))
def test_a_group_alike_in_verdict_and_length_gets_exactly_zero(objective: Objective) -> None:
    batch = batch_of([[1] * 7, [1, 0, 1, 1, 0, 1, 1]], [[17] * 7, [17] * 7])
    assert (advantages_of(objective, batch)[0] == 0).all()


@over(EVERY)
def test_lengths_of_zero_one_and_the_cap_are_taken(objective: Objective) -> None:
    for lengths in ([0, 1, 1, 0], [1, 1, 1, 1], [0, CAP - 1, 1, CAP]):
        batch = batch_of([[1, 1, 0, 1]], [lengths])
        assert torch.isfinite(advantages_of(objective, batch)).all()
        assert (kept_of(objective, batch) <= torch.tensor([lengths])).all()


@over(PLAIN)
def test_the_only_correct_rollout_of_a_group_has_the_only_positive_advantage(objective: Objective) -> None:
    batch = batch_of([[0, 0, 1, 0]], [[3, 9, 60, 5]])
    assert (advantages_of(objective, batch) > 0).tolist() == [[False, False, True, False]]


@over(PLAIN, lambda method: not method.credit.wrong and not method.credit.unfinished and not method.credit.form)
def test_an_unfinished_rollout_earns_nothing(objective: Objective) -> None:
    batch = batch_of([[1, 1, 1, 0]], [[11, CAP, 12, 13]])
    _, cut, _, wrong = objective.advantages(read_by(objective, batch)).view(4, -1)[:, :13]  # on tokens that all have
    assert torch.equal(cut, wrong) and ((wrong < 0).all() or stands_alone(objective))


@over(PLAIN, lambda method: method.credit.form)
def test_an_unfinished_rollout_earns_less_than_a_wrong_one_in_due_form_where_form_is_paid(objective: Objective) -> None:
    right, cut, wrong = advantages_of(objective, batch_of([[1, 1, 0]], [[10, CAP, 11]]))[0]
    assert right > wrong > cut


@over(PLAIN, lambda method: method.credit.unfinished)
def test_an_unfinished_rollout_is_paid_as_a_finished_one_where_a_method_says_so(objective: Objective) -> None:
    right, cut, wrong = advantages_of(objective, batch_of([[1, 1, 0]], [[10, CAP, 11]]))[0]
    assert right == cut > 0 > wrong


@over(PLAIN)
def test_a_rollout_without_a_verdict_gets_zero_and_does_not_move_the_others(objective: Objective) -> None:
    nan = float("nan")
    with_it = advantages_of(objective, batch_of([[1, 0, 1, nan]], [[5, 9, 12, 2]]))[0]
    without = advantages_of(objective, batch_of([[1, 0, 1]], [[5, 9, 12]]))[0]
    assert with_it[3] == 0
    torch.testing.assert_close(with_it[:3], without)


@over_options()
@settings(max_examples=40)
@given(st.data(), groups())
def test_a_rollout_without_a_verdict_gets_zero(methods: Drawn, data: Any, case) -> None:
    objective = data.draw(methods)
    batch = batch_of(*case)
    assert not advantages_of(objective, batch)[batch.grouped(paid(objective, batch).isnan())].any()


@over_options()
@settings(max_examples=40)
@given(st.data(), groups())
def test_only_a_method_that_drops_takes_tokens_out_of_the_loss(methods: Drawn, data: Any, case) -> None:
    objective = data.draw(methods)
    batch = batch_of(*case)
    kept_B = objective.kept_length(batch)
    assert kept_B.dtype == batch.length.dtype
    assert (kept_B >= 0).all() and (kept_B <= batch.length).all()
    assert drops(objective) or torch.equal(kept_B, batch.length)
    assert drops(objective) or not parts_of(objective).rejudge


@over(PLAIN, lambda method: drops(method) and not stands_alone(method))
def test_a_method_that_drops_does_so_with_default_options_in_a_group_that_is_large_enough(objective: Objective) -> None:
    batch = batch_of([[1] * 32], [[11] * 32])
    batch = replace(batch, length=torch.tensor([300, *[11] * 31]))
    assert objective.kept_length(batch)[0] < 300


@over_options()
@settings(max_examples=40)
@given(st.data(), groups())
def test_a_rollout_that_is_dropped_whole_has_no_advantage(methods: Drawn, data: Any, case) -> None:
    objective = data.draw(methods)
    batch = batch_of(*case)
    assert not advantages_of(objective, batch)[kept_of(objective, batch) == 0].any()


@over_options()
@settings(max_examples=10)
@given(st.data(), st.integers(0, 10**6), st.integers(1, 10**5))
def test_the_cap_is_never_above_what_the_recipe_gives(methods: Drawn, data: Any, step: int, max_length: int) -> None:
    objective = data.draw(methods)
    assert 1 <= objective.cap(step, max_length) <= max_length


@over(EVERY)
def test_an_engine_is_asked_to_keep_some_members_and_not_all(objective: Objective) -> None:
    for num_generations in (2, 3, 8, 32):
        keep = objective.keep_shortest(num_generations)
        assert keep is None or 1 <= keep < num_generations


@over(EVERY)
def test_what_a_method_logs_are_numbers(objective: Objective) -> None:
    batch = batch_of([[1, 0, 1, 1], [1, 1, 1, 1]], [[5, 9, 12, 30], [5, CAP, 6, 6]])
    metrics = objective.metrics(read_by(objective, batch))
    assert all(type(value) is float and value == value for value in metrics.values())


def leave_one_out(rewards_PG: Tensor) -> Tensor:
    """(P, G) RLOO's advantages."""
    judged_P1 = (~rewards_PG.isnan()).sum(dim=1, keepdim=True)
    return group_advantages(rewards_PG, "none") * judged_P1 / (judged_P1 - 1).clamp(min=1)


# Of methods that do not leave it to `scale_rewards`.
OWN_NORMALISATION: dict[str, Callable[[Tensor], Tensor]] = {
    "ddca": leave_one_out,
    "decs": lambda rewards_PG: group_advantages(rewards_PG.double()).float(),
    "lc_r1": lambda rewards_PG: group_advantages(rewards_PG, "none"),
    "mrt": group_advantages,
    "s_grpo": lambda rewards_PG: group_advantages(rewards_PG, "none"),
}


@pytest.mark.parametrize("scale", ["group", "batch", "none"])
@pytest.mark.parametrize("name", sorted(WEIGHT_ZERO))
@settings(max_examples=40)
@given(groups())
def test_weight_zero_is_grpo_bit_for_bit(name: str, scale: str, case) -> None:
    objective = scaled(OBJECTIVES[name](**WEIGHT_ZERO[name]), scale)
    batch = read_by(objective, batch_of(*case))
    normalise = OWN_NORMALISATION.get(name, lambda rewards_PG: group_advantages(rewards_PG, scale))
    advantages = objective.advantages(batch)
    expected = normalise(batch.grouped(paid(objective, batch).to(advantages.dtype))).flatten()
    assert torch.equal(advantages, expected[:, None].expand_as(advantages) if objective.credit.by_token else expected)
    assert torch.equal(objective.kept_length(batch), batch.length)
    assert objective.cap(10**6, CAP) == CAP
    assert objective.keep_shortest(batch.num_generations) is None


def test_every_method_with_a_weight_is_held_against_grpo() -> None:
    of_tokens = {"vsrm"}  # what it standardises are the tokens of the batch
    assert set(WEIGHT_ZERO) == {name for name, cls in OBJECTIVES.items() if not stands_alone(cls())} - of_tokens


@pytest.mark.parametrize("name", sorted(OBJECTIVES))
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_no_option_is_nan_or_infinite(name: str, value: float) -> None:
    for option, described in OBJECTIVES[name].model_fields.items():
        if described.annotation is float:
            with pytest.raises(ValueError, match=option):
                build_objective(name, {option: value})
