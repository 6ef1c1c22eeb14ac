"""What an engine over vLLM has to share with transformers, on the embedded reasoner: looks, watched tokens, bans."""

from typing import Any

import pytest

from concise_rl.rollout.engine import Asked, Peek, Request, Sampling, derive_seed
from concise_rl.rollout.engines.transformers import TransformersEngine

Prompts = list[list[int]]


def assert_looks_agree(engine: Any, reference: TransformersEngine, prompts: Prompts) -> None:
    """Also where tokens that are wanted are not among the likeliest, and the entropy is a lower bound."""
    peeks = [Peek(ids, (7, 3, 7)) for ids in [*prompts, [*prompts[0], 5], prompts[1][:1]]]
    expected, all_of_them = reference.peek(peeks), engine.likeliest
    for likeliest in (2, all_of_them):
        engine.likeliest = likeliest
        for ours, theirs in zip(engine.peek(peeks), expected, strict=True):
            assert ours.top_id == theirs.top_id
            assert ours.logprobs == pytest.approx(theirs.logprobs, abs=1e-3)
            assert ours.top_logprob == pytest.approx(theirs.top_logprob, abs=1e-3)
            assert ours.entropy < theirs.entropy + 1e-3
            assert likeliest == 2 or ours.entropy > theirs.entropy - 1e-3


def assert_watched_tokens_agree(engine: Any, reference: TransformersEngine, prompts: Prompts) -> None:
    """Of a greedy completion, which is the same on both. The entropy of vLLM is a lower bound."""
    asked = Asked([Request(prompt, 40) for prompt in prompts], Sampling(temperature=0.0, logprobs=True, watch=20))
    for ours, theirs in zip(engine.generate(asked), reference.generate(asked), strict=True):
        assert ours.ids == theirs.ids
        assert ours.logprobs == pytest.approx(theirs.logprobs, abs=1e-3)
        for one, other in zip(ours.watched, theirs.watched, strict=True):
            assert one.confidence == pytest.approx(other.confidence, abs=1e-2)
            assert other.entropy - 0.05 < one.entropy < other.entropy + 1e-3


def assert_banned_tokens_never_come(engine: Any, prompts: Prompts) -> None:
    """Neither by chance nor greedily."""
    for temperature in (0.0, 1.0):
        requests = [Request(prompt, 60, derive_seed(3, i)) for i, prompt in enumerate(prompts)]
        free = engine.generate(Asked(requests, Sampling(temperature=temperature)))
        banned = tuple({completion.ids[3] for completion in free})
        completions = engine.generate(Asked(requests, Sampling(temperature=temperature, banned_ids=banned)))
        assert not {token for completion in completions for token in completion.ids} & {*banned}
