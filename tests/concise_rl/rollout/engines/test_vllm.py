"""vLLM in this process, for real, on CPU: one engine for all tests, beside one model of transformers."""

import importlib.util
import json
import random
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from concise_rl.models.resolve import resolve_model
from concise_rl.reading.trace import StopReason
from concise_rl.rollout.engine import Asked, Request, Sampling, derive_seed
from concise_rl.rollout.engines.transformers import TransformersEngine, load_engine
from concise_rl.rollout.engines.vllm import VllmEngine, load_vllm_engine
from concise_rl.rollout.shortest import ShortestOnly
from concise_rl.tasks.tiny import load_problems
from tests.concise_rl.rollout.agreeing import (
    assert_banned_tokens_never_come,
    assert_looks_agree,
    assert_watched_tokens_agree,
)
from tests.concise_rl.rollout.altered import OPINIONS, altered

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vLLM is not installed"),
]
GREEDY = Sampling(temperature=0.0, logprobs=True)


@pytest.fixture(scope="module")
def vllm(tmp_path_factory: pytest.TempPathFactory) -> VllmEngine:
    """All that its generation config asks for is passed over: it is compared with the reasoner as it comes."""
    path = altered(tmp_path_factory.mktemp("opinionated"), "generation_config.json", **OPINIONS)
    return load_vllm_engine(path, max_tokens=400)


@pytest.fixture(scope="module")
def reference() -> TransformersEngine:
    return load_engine("tiny:base", batch_size=128)


@pytest.fixture(scope="module")
def prompts(reference: TransformersEngine) -> list[list[int]]:
    chats = [[{"role": "user", "content": row["prompt"]}] for row in load_problems("test", 8)]
    return [reference.tokenizer.apply_chat_template(c, add_generation_prompt=True)["input_ids"] for c in chats]


def requests_of(prompts: list[list[int]], max_tokens: int = 320, members: int = 1) -> list[Request]:
    repeated = [prompt for prompt in prompts for _ in range(members)]
    return [Request(prompt, max_tokens, derive_seed(7, i)) for i, prompt in enumerate(repeated)]


def reference_scores(reference: TransformersEngine, ids: list[int]) -> torch.Tensor:
    with torch.no_grad():
        logprobs = reference.model(torch.tensor([ids])).logits[0, :-1].log_softmax(-1)
    return logprobs.gather(1, torch.tensor(ids[1:])[:, None])[:, 0]


def test_greedy_completions_and_log_probabilities_are_those_of_transformers(vllm, reference, prompts) -> None:
    ours, theirs = (
        vllm.generate(Asked(requests_of(prompts), GREEDY)),
        reference.generate(Asked(requests_of(prompts), GREEDY)),
    )
    assert [c.ids for c in ours] == [c.ids for c in theirs]
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one.logprobs, other.logprobs, atol=1e-4)


def test_a_request_draws_the_same_whatever_it_is_sampled_beside(vllm, prompts) -> None:
    together = vllm.generate(Asked(requests_of(prompts, members=4), Sampling()))
    alone = vllm.generate(Asked(requests_of(prompts, members=4)[5:6], Sampling()))
    assert alone[0] == together[5]
    assert len({tuple(c.ids) for c in together[:4]}) > 1, "members of a group have seeds of their own"


def test_streamed_tokens_are_those_of_a_completion_of_the_same_seed(vllm, prompts) -> None:
    (request,), told = requests_of(prompts[:1]), []
    streamed = vllm.stream(request, Sampling(), told.append)
    assert streamed == vllm.generate(Asked([request], Sampling()))[0]
    assert [token for tokens in told for token in tokens] == streamed.ids and len(told) > 5


def test_log_probabilities_are_of_the_temperature_that_is_sampled(vllm, reference, prompts) -> None:
    (completion,) = vllm.generate(Asked(requests_of(prompts[:1]), Sampling(temperature=1.7, logprobs=True)))
    ids = [*prompts[0], *completion.ids]
    with torch.no_grad():
        logprobs = (reference.model(torch.tensor([ids])).logits[0, :-1] / 1.7).log_softmax(-1)
    expected = logprobs.gather(1, torch.tensor(ids[1:])[:, None])[len(prompts[0]) - 1 :, 0]
    np.testing.assert_allclose(completion.logprobs, expected, atol=1e-4)


def test_each_request_has_its_own_cap(vllm, prompts) -> None:
    requests = [Request(prompts[0], cap, 1) for cap in (1, 5, 320)]
    one, five, free = vllm.generate(Asked(requests, Sampling()))
    assert (len(one.ids), one.stop_reason, len(five.ids), five.stop_reason) == (
        1,
        StopReason.LENGTH,
        5,
        StopReason.LENGTH,
    )
    assert free.stop_reason is StopReason.EOS and free.ids[:5] == five.ids


def test_a_stop_token_ends_a_completion_and_is_its_last(vllm, prompts) -> None:
    newline = vllm.tokenizer.convert_tokens_to_ids("\n")
    (completion,) = vllm.generate(Asked(requests_of(prompts[:1]), Sampling(stop_ids=(newline,))))
    assert completion.stop_reason is StopReason.STOP_TOKEN
    assert completion.ids.index(newline) == len(completion.ids) - 1


@pytest.mark.parametrize("keep", [1, 4])
def test_giving_up_spares_tokens_and_leaves_the_shortest_as_they_are(vllm, prompts, keep: int) -> None:
    requests = requests_of(prompts, members=8)
    whole = vllm.generate(Asked(requests, Sampling(logprobs=True)))
    cut = vllm.generate(Asked(requests, Sampling(logprobs=True), give_up=ShortestOnly(keep, lambda row: row // 8)))
    for first in range(0, len(requests), 8):
        order = sorted(range(first, first + 8), key=lambda row: (len(whole[row].ids), row))
        assert [cut[row] for row in order[:keep]] == [whole[row] for row in order[:keep]]
    aborted = [row for row, completion in enumerate(cut) if completion.stop_reason is StopReason.ABORTED]
    assert aborted and all(cut[row].ids == whole[row].ids[: len(cut[row].ids)] for row in aborted)
    assert sum(len(c.ids) for c in cut) < sum(len(c.ids) for c in whole)


def test_progress_counts_every_completion_once(vllm, prompts) -> None:
    for give_up in (None, ShortestOnly(1, lambda row: row // 4)):
        ended: list[int] = []
        vllm.generate(Asked(requests_of(prompts, 60, members=4), Sampling(), ended.append, give_up))
        assert sum(ended) == 4 * len(prompts)


def test_an_interruption_leaves_nothing_behind(vllm, prompts) -> None:
    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        vllm.generate(Asked(requests_of(prompts, members=2), Sampling(), interrupt))
    assert not vllm.llm.llm_engine.has_unfinished_requests()


def test_a_request_that_may_not_fit_is_refused_with_the_setting_to_change(vllm, prompts) -> None:
    most = vllm.max_model_length
    with pytest.raises(ValueError, match=rf"raise that .* to {most + len(prompts[0])}"):
        vllm.generate(Asked([Request(prompts[0], most)], Sampling()))


def test_weights_are_replaced_the_tied_head_among_them(vllm, reference, prompts) -> None:
    """vLLM 0.31 alone leaves a tied head packed with the old weights on CPU."""
    first = dict(reference.model.state_dict())
    torch.manual_seed(0)
    changed = {name: value + 0.05 * torch.randn_like(value) for name, value in first.items()}
    for state in (changed, first):
        reference.model.load_state_dict(state)
        vllm.load_weights(reference.model.named_parameters())
        expected = reference_scores(reference, prompts[0])
        np.testing.assert_allclose(vllm.score(prompts[0]), expected, atol=1e-3)


def test_cached_prefixes_do_not_outlive_the_weights(vllm, reference, prompts) -> None:
    prompt = [token for prompt in prompts for token in prompt][:200]
    (before,) = vllm.generate(Asked([Request(prompt, 20)], GREEDY))
    scaled = {name: value * 1.5 for name, value in reference.model.state_dict().items()}
    vllm.load_weights(scaled.items())
    (after,) = vllm.generate(Asked([Request(prompt, 20)], GREEDY))
    vllm.load_weights(reference.model.named_parameters())
    (again,) = vllm.generate(Asked([Request(prompt, 20)], GREEDY))
    assert before == again != after


def test_looks_watched_tokens_and_bans_are_those_of_transformers(vllm, reference, prompts) -> None:
    assert_looks_agree(vllm, reference, prompts)
    assert_watched_tokens_agree(vllm, reference, prompts)
    assert_banned_tokens_never_come(vllm, prompts)


def test_what_is_watched_would_be_wrong_where_log_probabilities_are_of_what_is_sampled(vllm, prompts) -> None:
    with pytest.raises(ValueError, match="gives processed_logprobs: start it with logprobs_mode raw_logprobs"):
        vllm.generate(Asked(requests_of(prompts), Sampling(temperature=0.6, watch=20)))


def test_more_bans_than_vllm_takes_are_refused(vllm, prompts) -> None:
    with pytest.raises(ValueError, match="2000 tokens are banned, and vLLM takes 1024"):
        vllm.generate(Asked(requests_of(prompts), Sampling(banned_ids=tuple(range(2000)))))


def test_starting_vllm_leaves_the_random_numbers_and_threads_of_the_process(vllm) -> None:
    set_num_threads = torch.set_num_threads
    for seed in (random.seed, np.random.seed, torch.manual_seed):
        seed(3)
    expected = (random.random(), np.random.random(), torch.rand(1))
    for seed in (random.seed, np.random.seed, torch.manual_seed):
        seed(3)
    load_vllm_engine("tiny:base", max_tokens=64)
    assert (random.random(), np.random.random(), torch.rand(1)) == expected
    assert torch.set_num_threads is set_num_threads


def test_a_context_too_short_for_the_cap_is_said_before_vllm_starts() -> None:
    with pytest.raises(ValueError, match="has a context of 1024 tokens: with a cap of 5000 no prompt fits"):
        load_vllm_engine("tiny:base", max_tokens=5000)


def test_too_little_memory_for_one_sequence_is_an_error_that_says_so(vllm, tmp_path: Path, monkeypatch) -> None:
    folder = shutil.copytree(resolve_model("tiny:base"), tmp_path / "long")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"max_position_embeddings": 1_000_000}))
    monkeypatch.setenv("VLLM_CPU_KVCACHE_SPACE", "1")
    with pytest.raises(ValueError, match="max_model_len"):
        VllmEngine(str(folder), vllm.tokenizer, vllm.eos_token_ids, max_model_length=1_000_000)
