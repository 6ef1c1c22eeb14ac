"""Giving up rollouts that cannot be among the shortest of their group."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from concise_rl.reading.trace import StopReason
from concise_rl.rollout.engine import Asked, Request, Sampling
from concise_rl.rollout.engines.transformers import TransformersEngine, load_engine
from concise_rl.rollout.shortest import ShortestOnly
from concise_rl.tasks.tiny import load_problems

INFINITE = float("inf")


def one_group(keep: int) -> ShortestOnly:
    return ShortestOnly(keep, lambda request: 0)


def test_nothing_is_given_up_before_enough_have_ended() -> None:
    give_up = one_group(2)
    assert give_up.cap(9) == INFINITE
    give_up.end(0, 5)
    assert give_up.cap(9) == INFINITE


def test_the_cap_is_the_length_of_the_longest_that_counts() -> None:
    give_up = one_group(2)
    for request, length in enumerate([30, 10, 20, 40]):
        give_up.end(request, length)
    assert give_up.cap(9) == 20


def test_groups_do_not_touch_each_other() -> None:
    give_up = ShortestOnly(1, lambda request: request // 4)
    give_up.end(1, 8)
    assert [give_up.cap(request) for request in (0, 3, 4)] == [8, 8, INFINITE]


@given(st.lists(st.integers(1, 100), min_size=1, max_size=20), st.integers(1, 20), st.randoms(use_true_random=False))
def test_only_what_is_longer_than_all_that_count_is_ever_given_up(lengths: list[int], keep: int, rng) -> None:
    """Whatever the order in which they end, and however soon it is asked."""
    give_up = one_group(keep)
    shortest = sorted(lengths)[:keep]
    for request in rng.sample(range(len(lengths)), len(lengths)):
        if lengths[request] > give_up.cap(request):
            assert lengths[request] > shortest[-1]
        else:
            give_up.end(request, lengths[request])
    assert give_up.cap(0) == (shortest[-1] if len(lengths) >= keep else INFINITE)


@pytest.fixture(scope="module")
def engine() -> TransformersEngine:
    return load_engine("tiny:base", batch_size=32)


def test_the_embedded_engine_gives_up_only_what_is_longer_and_spares_tokens(engine: TransformersEngine) -> None:
    chats = [[{"role": "user", "content": row["prompt"]}] for row in load_problems("test", 4)]
    prompts = [engine.tokenizer.apply_chat_template(c, add_generation_prompt=True)["input_ids"] for c in chats]
    requests = [Request(prompt, 320, seed) for seed, prompt in enumerate(p for p in prompts for _ in range(8))]
    completions = engine.generate(Asked(requests, Sampling(), give_up=ShortestOnly(3, lambda request: request // 8)))
    gone = 0
    for group in (completions[i : i + 8] for i in range(0, len(completions), 8)):
        ended = sorted(len(c.ids) for c in group if c.stop_reason is not StopReason.ABORTED)
        aborted = [len(c.ids) for c in group if c.stop_reason is StopReason.ABORTED]
        assert len(ended) >= 3 and all(length >= ended[2] for length in aborted)
        gone += len(aborted)
    assert gone >= 8
    free = engine.generate(Asked(requests, Sampling()))
    assert sum(len(c.ids) for c in completions) < sum(len(c.ids) for c in free)


def test_what_ends_by_itself_does_not_depend_on_what_is_given_up_where_draws_do_not(engine: TransformersEngine) -> None:
    """Greedy, so that what leaves the batch cannot shift the draws of what stays."""
    chats = [[{"role": "user", "content": row["prompt"]}] for row in load_problems("test", 12)]
    prompts = [engine.tokenizer.apply_chat_template(c, add_generation_prompt=True)["input_ids"] for c in chats]
    random.Random(0).shuffle(prompts)
    requests = [Request(prompt, 320) for prompt in prompts]
    free = engine.generate(Asked(requests, Sampling(temperature=0.0)))
    cut = engine.generate(Asked(requests, Sampling(temperature=0.0), give_up=one_group(4)))
    assert any(c.stop_reason is StopReason.ABORTED for c in cut)
    for a, b in zip(free, cut, strict=True):
        assert a.ids[: len(b.ids)] == b.ids
        assert b.stop_reason is StopReason.ABORTED or a == b
