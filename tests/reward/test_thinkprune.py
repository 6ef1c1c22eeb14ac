"""What ThinkPrune promises beyond the properties of every method."""

from dataclasses import replace

import pytest

from reward import ThinkPrune, build_objective
from tests.reward.test_objectives import CAP, batch_of

STAGES = ThinkPrune(limits=(400, 300, 200), stage_steps=10)


@pytest.mark.parametrize(
    ("step", "limit"), [(0, 400), (9, 400), (10, 300), (19, 300), (20, 200), (29, 200), (30, 200), (10**6, 200)]
)
def test_the_cap_falls_by_stages_and_the_last_goes_on(step: int, limit: int) -> None:
    assert STAGES.cap(step, 1000) == limit


@pytest.mark.parametrize(("step", "limit"), [(0, 250), (10, 250), (20, 200)])
def test_the_recipes_own_cap_holds_where_it_is_lower(step: int, limit: int) -> None:
    assert STAGES.cap(step, 250) == limit


def test_a_clipped_rollout_that_showed_its_answer_is_paid_and_one_that_did_not_is_not() -> None:
    batch = batch_of([[1, 0, 1, 0]], [[CAP, CAP, 10, 11]])
    assert ThinkPrune().rewards(batch).tolist() == [1, 0, 1, 0]
    assert ThinkPrune(scale_rewards="none").advantages(batch).tolist() == [0.5, -0.5, 0.5, -0.5]


@pytest.mark.parametrize("limits", [[], [100, 100], [100, 200], [100, 0], ["long"]])
def test_limits_that_do_not_fall_are_refused(limits: list) -> None:
    with pytest.raises(ValueError, match="Options of objective 'thinkprune': limits"):
        build_objective("thinkprune", {"limits": limits})


def test_limits_come_as_a_list_from_a_recipe() -> None:
    objective = build_objective("thinkprune", {"limits": [192, 96, 56], "stage_steps": 27})
    assert [objective.cap(step, 320) for step in (26, 27, 54)] == [192, 96, 56]


def test_the_limit_and_what_is_paid_although_clipped_are_logged() -> None:
    batch = replace(batch_of([[1, 0, 1, 0]], [[CAP, CAP, 10, 11]]), max_length=CAP)
    assert ThinkPrune().metrics(batch) == {"limit": CAP, "clipped_and_paid": 0.25}
