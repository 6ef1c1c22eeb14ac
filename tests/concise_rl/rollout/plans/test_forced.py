"""Forced beginnings: who begins how, under which cap, and what it costs."""

import pytest

from concise_rl.reading.trace import StopReason
from concise_rl.rollout.engine import Asked, Completion, Request, Sampling
from concise_rl.rollout.plans.forced import ForcedFirst
from concise_rl.rollout.plans.plan import Parallel, Rollout

END, ALRIGHT = 7, 8
PLAN = ForcedFirst((END,), (ALRIGHT,), num_generations=4)


class Recorder:
    """An `Engine` that answers with the cap of the request, and notes what it was asked."""

    def __init__(self) -> None:
        self.asked: list[Request] = []

    def generate(self, asked: Asked) -> list[Completion]:
        """See `Engine.generate`."""
        self.asked = list(asked.requests)
        logprobs = [-0.5, -0.25] if asked.sampling.logprobs else None
        return [Completion([request.max_tokens, 1], StopReason.EOS, logprobs) for request in asked.requests]


def rollouts_of(plan: ForcedFirst, count: int, cap: int = 50, logprobs: bool = False) -> tuple[list[Rollout], Recorder]:
    engine = Recorder()
    requests = [Request([3, 3], cap, seed) for seed in range(count)]
    return plan.rollouts(engine, Asked(requests, Sampling(logprobs=logprobs))), engine


def test_a_share_of_each_group_begins_with_one_text_and_the_rest_with_the_other() -> None:
    rollouts, _ = rollouts_of(PLAN, 8)
    assert [rollout.ids[0] for rollout in rollouts] == [END, END, ALRIGHT, ALRIGHT] * 2


@pytest.mark.parametrize(("share", "forced"), [(0.0, 0), (0.3, 1), (0.5, 2), (1.0, 4)])
def test_a_share_is_rounded_to_whole_members(share: float, forced: int) -> None:
    rollouts, _ = rollouts_of(ForcedFirst((END,), (ALRIGHT,), 4, share), 4)
    assert sum(rollout.ids[0] == END for rollout in rollouts) == forced


def test_each_rollout_says_how_it_was_forced_to_begin() -> None:
    rollouts, _ = rollouts_of(PLAN, 4)
    assert [rollout.facts for rollout in rollouts] == [
        {fact.name: value} for fact in PLAN.facts for value in (1, 1, 0, 0)
    ]


def test_the_engine_goes_on_from_the_forced_tokens_with_the_seed_of_the_request() -> None:
    _, engine = rollouts_of(ForcedFirst((END, 9), (ALRIGHT,), 2), 2)
    assert [list(request.prompt_ids) for request in engine.asked] == [[3, 3, END, 9], [3, 3, ALRIGHT]]
    assert [request.seed for request in engine.asked] == [0, 1]


def test_forced_tokens_count_in_the_cap_but_not_in_what_was_sampled() -> None:
    rollouts, _ = rollouts_of(ForcedFirst((END, 9), (ALRIGHT,), 2), 2, cap=50)
    assert [rollout.ids[-2] for rollout in rollouts] == [48, 49]  # the caps that the engine was given
    assert [rollout.sampled for rollout in rollouts] == [2, 2]


@pytest.mark.parametrize(("cap", "asked"), [(50, [9, 49]), (6, [5, 5])])
def test_those_that_begin_with_the_first_text_may_have_a_lower_cap(cap: int, asked: list[int]) -> None:
    _, engine = rollouts_of(ForcedFirst((END,), (ALRIGHT,), 2, max_tokens=10), 2, cap)
    assert [request.max_tokens for request in engine.asked] == asked


def test_forced_tokens_are_trained_on_and_have_no_logprob_of_sampling() -> None:
    rollouts, _ = rollouts_of(PLAN, 4, logprobs=True)
    assert all(rollout.trained is None and rollout.logprobs == [None, -0.5, -0.25] for rollout in rollouts)


def test_no_logprobs_are_made_up_where_none_were_wanted() -> None:
    assert all(rollout.logprobs is None for rollout in rollouts_of(PLAN, 4)[0])


def test_texts_with_the_same_first_token_are_refused() -> None:
    with pytest.raises(ValueError, match="first token"):
        ForcedFirst((END, 9), (END, 8), 4)


@pytest.mark.parametrize("plan", [PLAN, ForcedFirst((END,), (ALRIGHT,), 4, max_tokens=1)])
def test_a_cap_that_leaves_nothing_to_sample_is_refused(plan: ForcedFirst) -> None:
    with pytest.raises(ValueError, match="raise the cap"):
        plan.check_cap(1)


def test_an_evaluation_samples_plainly() -> None:
    assert PLAN.whole_groups and PLAN.evaluated == Parallel()
