"""What an engine over vLLM has to share with transformers, on the embedded reasoner: looks, watched tokens, bans."""

from typing import Any

import pytest
import torch

from concise_rl.rollout.engine import Asked, Peek, Request, Sampling, derive_seed
from concise_rl.rollout.engines.transformers import TransformersEngine

Prompts = list[list[int]]
WATCHED = 20
"""Likeliest tokens that are watched, as DeepConf does."""


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
    """Of a greedy completion, which is the same on both. vLLM's entropy takes all but the likeliest tokens as one."""
    asked = Asked([Request(prompt, 40) for prompt in prompts], Sampling(temperature=0.0, logprobs=True, watch=WATCHED))
    for prompt, ours, theirs in zip(prompts, engine.generate(asked), reference.generate(asked), strict=True):
        assert ours.ids == theirs.ids
        assert ours.logprobs == pytest.approx(theirs.logprobs, abs=1e-3)
        for one, other in zip(ours.watched, theirs.watched, strict=True):
            assert one.confidence == pytest.approx(other.confidence, abs=1e-2)
            assert one.entropy < other.entropy + 1e-3
        lumped = entropies_of_likeliest(reference, prompt, ours.ids)
        assert [one.entropy for one in ours.watched] == pytest.approx(lumped, abs=1e-2)


@torch.no_grad()
def entropies_of_likeliest(reference: TransformersEngine, prompt: list[int], ids: list[int]) -> list[float]:
    """Of each token of a completion: over the likeliest tokens and one that stands for all others."""
    logits_TV = reference.model.eval()(torch.tensor([[*prompt, *ids]])).logits[0, len(prompt) - 1 : -1]
    likeliest_TK = logits_TV.double().softmax(dim=-1).topk(WATCHED).values
    lumped_TK = torch.cat([likeliest_TK, 1 - likeliest_TK.sum(dim=-1, keepdim=True)], dim=-1).clamp(min=1e-12)
    return (-lumped_TK * lumped_TK.log()).sum(dim=-1).tolist()


def assert_banned_tokens_never_come(engine: Any, prompts: Prompts) -> None:
    """Neither by chance nor greedily."""
    for temperature in (0.0, 1.0):
        requests = [Request(prompt, 60, derive_seed(3, i)) for i, prompt in enumerate(prompts)]
        free = engine.generate(Asked(requests, Sampling(temperature=temperature)))
        banned = tuple({completion.ids[3] for completion in free})
        completions = engine.generate(Asked(requests, Sampling(temperature=temperature, banned_ids=banned)))
        assert not {token for completion in completions for token in completion.ids} & {*banned}
