"""The engine over a vLLM server: how each failure is told, and that the real one samples what transformers does."""

import asyncio
import importlib.util
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from pathlib import Path

import httpx
import pytest
import torch
from transformers import AutoModelForCausalLM, LlamaConfig, PreTrainedModel

from concise_rl.errors import EngineError
from concise_rl.reading.trace import StopReason
from concise_rl.rollout.engine import Asked, Completion, Request, Sampling, derive_seed
from concise_rl.rollout.engines.server import VllmServer
from concise_rl.rollout.engines.transformers import TransformersEngine, load_engine
from concise_rl.rollout.shortest import ShortestOnly
from concise_rl.rollout.sync.links import WEIGHTS_FOLDER
from concise_rl.rollout.sync.weights import drop_old, write_weights
from concise_rl.tasks.tiny import load_problems
from concise_rl.train.checkpoint import last_complete
from tests.concise_rl.rollout.agreeing import (
    assert_banned_tokens_never_come,
    assert_looks_agree,
    assert_watched_tokens_agree,
)
from tests.concise_rl.rollout.fake_server import EOS, MODEL_LENGTH, FakeServer, answer_to
from tests.concise_rl.train.test_trainer import metrics_of, trainer_of
from tests.serving import ROOT, Served, free_port, serving

PLAIN, WITH_LOGPROBS = Sampling(), Sampling(logprobs=True)
REQUESTS = [Request([10 + i, 20 + i], 8, seed=i) for i in range(6)]
SHAPE = {"vocab_size": 156, "hidden_size": 128, "num_hidden_layers": 4}


def connect(fake: FakeServer, rollout_timeout: float = 60.0) -> VllmServer:
    return VllmServer(fake.url, [EOS], start_timeout=10.0, rollout_timeout=rollout_timeout)


# What is asked for, and what comes back.


def test_every_request_gets_its_own_completion() -> None:
    with FakeServer() as fake:
        completions = connect(fake).generate(Asked(REQUESTS, PLAIN))
    assert [c.ids for c in completions] == [answer_to(list(r.prompt_ids), 8) for r in REQUESTS]
    assert all(c.stop_reason is StopReason.EOS and c.logprobs is None for c in completions)


def test_a_completion_ends_by_eos_a_stop_token_or_the_cap() -> None:
    requests = [Request([7, 8], 3), Request([7, 8], 2), Request([8, 7], 2)]
    with FakeServer() as fake:
        completions = connect(fake).generate(Asked(requests, Sampling(stop_ids=(8,))))
    assert [c.stop_reason for c in completions] == [StopReason.EOS, StopReason.LENGTH, StopReason.STOP_TOKEN]


def test_each_request_takes_its_own_seed_and_cap_and_all_share_the_sampling() -> None:
    sampling = Sampling(temperature=0.7, top_p=0.9, top_k=5, min_p=0.1, stop_ids=(9,), logprobs=True)
    with FakeServer() as fake:
        connect(fake).generate(Asked([Request([3], 5, seed=17), Request([4], 6)], sampling))
    first, second = sorted((body for path, body in fake.seen if path == "/v1/completions"), key=lambda b: b["prompt"])
    assert (first["seed"], first["max_tokens"], second["seed"], second["max_tokens"]) == (17, 5, None, 6)
    assert [first[k] for k in ("temperature", "top_p", "top_k", "min_p", "logprobs")] == [0.7, 0.9, 5, 0.1, 0]
    assert first["stop_token_ids"] == [EOS, 9] and first["ignore_eos"] and first["repetition_penalty"] == 1.0


def test_log_probabilities_come_where_they_are_wanted() -> None:
    with FakeServer() as fake:
        completions = connect(fake).generate(Asked(REQUESTS, WITH_LOGPROBS))
    assert all(c.logprobs == [-0.5] * len(c.ids) for c in completions)


def test_progress_counts_every_completion_once() -> None:
    ended: list[int] = []
    with FakeServer() as fake:
        connect(fake).generate(Asked(REQUESTS, PLAIN, ended.append))
    assert ended == [1] * len(REQUESTS)


def test_a_notebook_whose_event_loop_runs_already_gets_its_completions() -> None:
    async def cell(fake: FakeServer) -> list[Completion]:
        return connect(fake).generate(Asked(REQUESTS, PLAIN))

    # In a thread of its own: where a browser has been opened, playwright's loop runs in this one.
    with FakeServer() as fake, ThreadPoolExecutor(1) as pool:
        completions = pool.submit(lambda: asyncio.run(cell(fake))).result()
    assert [c.ids for c in completions] == [answer_to(list(r.prompt_ids), 8) for r in REQUESTS]


def test_a_rule_changes_nothing() -> None:
    give_up = ShortestOnly(1, lambda _: 0)
    with FakeServer() as fake:
        server = connect(fake)
        assert server.generate(Asked(REQUESTS, PLAIN, give_up=give_up)) == server.generate(Asked(REQUESTS, PLAIN))


def test_no_requests_are_no_completions() -> None:
    with FakeServer("error") as fake:
        assert connect(fake).generate(Asked([], PLAIN)) == []


def test_more_requests_than_there_may_be_connections_all_end(monkeypatch) -> None:
    monkeypatch.setattr("concise_rl.rollout.engines.crowd._most_connections", lambda: 3)
    with FakeServer() as fake:
        completions = connect(fake).generate(Asked(REQUESTS * 8, PLAIN))
    assert [c.ids for c in completions] == [answer_to(list(r.prompt_ids), 8) for r in REQUESTS * 8]


def test_a_request_that_does_not_fit_is_refused_before_anything_is_sent() -> None:
    with FakeServer() as fake:
        with pytest.raises(ValueError, match=f"--max-model-len {MODEL_LENGTH + 1}"):
            connect(fake).generate(Asked([*REQUESTS, Request([5], MODEL_LENGTH)], PLAIN))
        assert "/v1/completions" not in fake.paths


def test_a_request_whose_continuation_will_not_fit_is_refused_before_anything_is_sent() -> None:
    with FakeServer() as fake:
        with pytest.raises(ValueError, match=f"--max-model-len {MODEL_LENGTH + 6}"):
            connect(fake).generate(Asked([Request([5], MODEL_LENGTH - 1, reserve=6)], PLAIN))
        assert "/v1/completions" not in fake.paths


def test_a_stream_tells_each_token_once_and_ends_as_a_completion_does() -> None:
    told: list[list[int]] = []
    with FakeServer() as fake:
        streamed = connect(fake).stream(REQUESTS[0], PLAIN, told.append)
        assert streamed == connect(fake).generate(Asked(REQUESTS[:1], PLAIN))[0]
    assert told == [[token] for token in streamed.ids]


# How it fails.


@pytest.mark.parametrize(
    ("behaviour", "message"),
    [
        ("error", "HTTP 500: EngineCore encountered an issue"),
        ("reset", "is gone .* start it again with `concise-rl serve MODEL`"),
        ("error_event", "broke off: EngineCore encountered an issue"),
        ("cut_body", "is gone"),
        ("no_ids", "left token_ids out of an answer"),
        ("unfinished", "ended a completion after 1 of 8 tokens, and on no EOS"),
        ("hang", r"has sent nothing at /v1/completions for 0\.5 s: it hangs"),
    ],
)
def test_a_stream_that_fails_says_how_in_a_line(behaviour: str, message: str) -> None:
    with FakeServer(behaviour) as fake, pytest.raises(EngineError, match=message) as caught:
        connect(fake, 0.5).stream(REQUESTS[0], PLAIN, lambda _: None)
    assert "\n" not in str(caught.value)


def test_a_stream_whose_server_the_kernel_has_given_up_is_gone_and_does_not_hang(monkeypatch) -> None:
    def keepalive_unanswered(self: httpx.Response) -> Iterator[str]:
        yield 'data: {"choices": []}'
        raise httpx.ReadTimeout("[Errno 110] Connection timed out")  # httpx has no other error for it

    monkeypatch.setattr(httpx.Response, "iter_lines", keepalive_unanswered)
    with FakeServer() as fake, pytest.raises(EngineError) as caught:
        connect(fake, 600.0).stream(REQUESTS[0], PLAIN, lambda _: None)
    assert f"The vLLM server at {fake.url} is gone ([Errno 110] Connection timed out" in str(caught.value)
    assert "start it again with `concise-rl serve MODEL`, then give the same command again" in str(caught.value)


@pytest.mark.parametrize(
    ("behaviour", "message"),
    [
        ("error", "HTTP 500: EngineCore encountered an issue"),
        ("bad_request", "HTTP 400: EngineCore encountered an issue"),
        ("reset", "is gone .* start it again with `concise-rl serve MODEL`"),
        ("cut_body", "is gone"),
        ("cut_json", "what is no JSON"),
        ("no_choices", "sent 0 completions where one was asked for"),
        ("no_ids", "left 0.token_ids out of an answer"),
        ("empty", "sent an empty completion"),
        ("unfinished", "ended a completion after 1 of 8 tokens, and on no EOS .*'abort'"),
        ("no_logprobs", "left logprobs.token_logprobs out of an answer"),
        ("few_logprobs", "sent 1 log-probabilities for 3 tokens"),
        ("hang", r"has not ended a completion for 0\.5 s: it hangs"),
    ],
)
def test_a_failure_of_some_completions_is_one_clear_error(behaviour: str, message: str) -> None:
    with FakeServer(behaviour, good=len(REQUESTS) // 2) as fake:
        server = connect(fake, rollout_timeout=0.5 if behaviour == "hang" else 60.0)
        began = time.monotonic()
        with pytest.raises(EngineError, match=message) as failed:
            server.generate(Asked(REQUESTS, WITH_LOGPROBS))
        assert time.monotonic() - began < 30
    assert fake.url in str(failed.value) and "\n" not in str(failed.value)


def test_a_failure_leaves_no_request_running() -> None:
    with FakeServer("hang") as fake:
        with pytest.raises(EngineError, match="hangs"):
            connect(fake, rollout_timeout=0.3).generate(Asked(REQUESTS, PLAIN))
        deadline = time.monotonic() + 10
        while fake.left < len(REQUESTS) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert fake.left == len(REQUESTS)


def test_a_server_that_is_not_there_is_an_error_that_says_how_to_start_one() -> None:
    with pytest.raises(EngineError, match=r"No vLLM server answers at http://127.* `concise-rl serve MODEL`"):
        VllmServer(f"http://127.0.0.1:{free_port()}", [EOS], start_timeout=0.2)


def test_a_server_that_never_becomes_healthy_is_an_error() -> None:
    with FakeServer("sick") as fake, pytest.raises(EngineError, match="HTTP 503"):
        VllmServer(fake.url, [EOS], start_timeout=0.2)


def test_a_server_that_still_starts_is_waited_for() -> None:
    with FakeServer("sick") as fake:
        threading.Timer(0.7, setattr, (fake, "behaviour", "good")).start()
        assert VllmServer(fake.url, [EOS], start_timeout=30).model == "fake"


def test_what_is_no_url_is_refused() -> None:
    with pytest.raises(ValueError, match="begins with http://"):
        VllmServer("localhost:8000", [EOS])


# Weights, and the model that is served.


def tiny_config(**other: int) -> LlamaConfig:
    return LlamaConfig(**{**SHAPE, "name_or_path": "org/tiny", **other})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_weights(tmp_path / "step-1", [("weight", torch.ones(2))], tiny_config())
    return tmp_path / "step-1"


def test_weights_are_loaded_while_the_server_pauses_and_cached_prefixes_are_forgotten(folder: Path) -> None:
    with FakeServer() as fake:
        server = connect(fake)
        fake.seen.clear()
        server.load_weights(folder)
    assert fake.paths == ["/pause?mode=wait", "reload_weights", "repack_heads", "/reset_prefix_cache", "/resume"]
    assert fake.seen[1][1]["kwargs"] == {"weights_path": str(folder)}


@pytest.mark.parametrize(("behaviour", "message"), [("reload_dies", "is gone"), ("keeps_cache", "cached prefixes")])
def test_weights_that_are_not_loaded_are_an_error_and_the_server_goes_on(folder, behaviour: str, message: str) -> None:
    with FakeServer(behaviour) as fake:
        with pytest.raises(EngineError, match=f"{folder} were not loaded.*{message}"):
            connect(fake).load_weights(folder)
        assert fake.paths[-1] == "/resume"


def test_a_torn_folder_is_never_shown_to_the_server(folder: Path) -> None:
    (folder / "config.json").unlink()
    with FakeServer() as fake:
        server = connect(fake)
        fake.seen.clear()
        with pytest.raises(ValueError, match=r"config\.json missing"):
            server.load_weights(folder)
        assert fake.seen == []


def test_a_server_of_the_same_model_passes() -> None:
    with FakeServer() as fake:
        connect(fake).check_model(tiny_config(), max_tokens_needed=MODEL_LENGTH)


@pytest.mark.parametrize("name", SHAPE)
def test_a_server_of_another_model_is_refused_naming_both(name: str) -> None:
    with FakeServer() as fake, pytest.raises(ValueError, match="holds fake") as refused:
        connect(fake).check_model(tiny_config(**{name: 64}))
    said = str(refused.value)
    assert f"{name} {SHAPE[name]}" in said and f"{name} 64" in said and "`concise-rl serve org/tiny`" in said


@pytest.mark.parametrize(
    ("behaviour", "message"),
    [
        ("no_dev_mode", "no endpoints for loading weights"),
        ("raw_logprobs", "gives raw_logprobs, and the trainer needs processed_logprobs"),
        ("no_extension", "without this project's worker extension"),
    ],
)
def test_a_server_started_otherwise_is_refused_with_the_command_to_start_it(behaviour: str, message: str) -> None:
    with FakeServer(behaviour) as fake, pytest.raises(ValueError, match=f"{message}.*`concise-rl serve org/tiny`"):
        connect(fake).check_model(tiny_config())


def test_a_server_with_too_short_a_context_is_refused() -> None:
    with FakeServer() as fake, pytest.raises(ValueError, match="--max-model-len 100"):
        connect(fake).check_model(tiny_config(), max_tokens_needed=100)


# The real server, one for all tests.


@pytest.fixture(scope="module")
def started() -> Iterator[Served]:
    if importlib.util.find_spec("vllm") is None:
        pytest.skip("vLLM is not installed")
    with serving("tiny:base") as server:
        yield server


@pytest.fixture(scope="module")
def reference() -> TransformersEngine:
    return load_engine("tiny:base", batch_size=8)


@pytest.fixture(scope="module")
def server(started: Served, reference: TransformersEngine) -> VllmServer:
    return VllmServer(started.url, reference.eos_token_ids, rollout_timeout=120, vocabulary=156)


@pytest.fixture(scope="module")
def prompts(reference: TransformersEngine) -> list[list[int]]:
    chats = [[{"role": "user", "content": row["prompt"]}] for row in load_problems("test", 6)]
    return [reference.tokenizer.apply_chat_template(c, add_generation_prompt=True)["input_ids"] for c in chats]


def logprobs_of(model: PreTrainedModel, ids: Sequence[int]) -> list[float]:
    """Of every token but the first, by transformers."""
    with torch.no_grad():
        logits = model(torch.tensor([ids])).logits[0, :-1]
    return logits.log_softmax(-1).gather(1, torch.tensor(ids[1:])[:, None])[:, 0].tolist()


@pytest.mark.slow
def test_the_served_model_is_recognised_and_another_is_not(server, reference) -> None:
    server.check_model(reference.model.config, max_tokens_needed=server.max_model_len)
    wider = deepcopy(reference.model.config)
    wider.hidden_size = 256
    with pytest.raises(ValueError, match=r"hidden_size 128.* hidden_size 256"):
        server.check_model(wider)


@pytest.mark.slow
def test_greedy_completions_are_those_of_transformers(server, reference, prompts) -> None:
    requests, greedy = [Request(p, 160) for p in prompts], Sampling(temperature=0.0, logprobs=True)
    ours, theirs = server.generate(Asked(requests, greedy)), reference.generate(Asked(requests, greedy))
    assert [c.ids for c in ours] == [c.ids for c in theirs]
    assert [c.stop_reason for c in ours] == [c.stop_reason for c in theirs]


@pytest.mark.slow
def test_a_seed_samples_the_same_whatever_is_sampled_beside_it(server, prompts) -> None:
    requests = [Request(p, 80, seed=derive_seed(3, i)) for i, p in enumerate(prompts)]
    together = [c.ids for c in server.generate(Asked(requests, PLAIN))]
    assert [server.generate(Asked([r], PLAIN))[0].ids for r in requests[:3]] == together[:3]
    other = [Request(p, 80, seed=derive_seed(4, i)) for i, p in enumerate(prompts)]
    assert [c.ids for c in server.generate(Asked(other, PLAIN))] != together


@pytest.mark.slow
@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_log_probabilities_are_those_of_the_distribution_sampled(server, reference, prompts, temperature) -> None:
    sampling = Sampling(temperature=temperature, logprobs=True)
    (completion,) = server.generate(Asked([Request(prompts[0], 80, seed=1)], sampling))
    ids = torch.tensor([[*prompts[0], *completion.ids]])
    with torch.no_grad():
        logits = reference.model(ids).logits[0, len(prompts[0]) - 1 : -1] / temperature
    expected = logits.log_softmax(-1).gather(1, torch.tensor(completion.ids)[:, None])[:, 0]
    assert completion.logprobs == pytest.approx(expected.tolist(), abs=1e-3)


@pytest.mark.slow
def test_looks_watched_tokens_and_bans_are_those_of_transformers(server, reference, prompts) -> None:
    assert_looks_agree(server, reference, prompts)
    assert_watched_tokens_agree(server, reference, prompts)
    assert_banned_tokens_never_come(server, prompts)


@pytest.mark.slow
def test_what_is_watched_would_be_wrong_on_a_server_as_a_trainer_needs_it(server, prompts) -> None:
    with pytest.raises(ValueError, match=r"gives processed_logprobs: start the one at .* with --logprobs-mode raw_log"):
        server.generate(Asked([Request(prompts[0], 4)], Sampling(top_p=0.9, watch=20)))


@pytest.mark.slow
def test_seeded_prompts_that_are_more_than_one_step_takes_are_completed(server) -> None:
    rng = random.Random(0)  # nothing in common, which the cache of prefixes would spare
    long = [[rng.randrange(2, 150) for _ in range(700)] for _ in range(16)]
    completions = server.generate(Asked([Request(ids, 2, seed=1) for ids in long], PLAIN))
    assert all(1 <= len(c.ids) <= 2 for c in completions)


@pytest.mark.slow
def test_weights_that_are_loaded_are_those_that_are_sampled_from(server, reference, prompts, tmp_path: Path) -> None:
    (before,) = server.generate(Asked([Request(prompts[0], 40)], Sampling(temperature=0.0)))
    ids, changed = [*prompts[0], *before.ids], deepcopy(reference.model)
    torch.manual_seed(0)
    with torch.no_grad():
        for param in changed.parameters():
            param.add_(0.3 * param.std() * torch.randn_like(param))
    for step, model in enumerate((changed, reference.model)):
        write_weights(tmp_path / f"step-{step}", model.named_parameters(), model.config)
        server.load_weights(tmp_path / f"step-{step}")
        drop_old(tmp_path, step, keep=1)
        assert server.score(ids) == pytest.approx(logprobs_of(model, ids), abs=1e-3)
        greedy = Sampling(temperature=0.0, logprobs=True)
        (now,) = server.generate(Asked([Request(prompts[0], 40)], greedy))
        sampled = logprobs_of(model, [*prompts[0], *now.ids])[-len(now.ids) :]
        assert now.logprobs == pytest.approx(sampled, abs=1e-3)
    assert now.ids == before.ids and max(map(abs, logprobs_of(changed, ids))) > 1


@pytest.mark.slow
def test_what_the_server_refuses_is_quoted(server) -> None:
    with pytest.raises(EngineError, match=r"HTTP 400: Token id 100000 is out of vocabulary"):
        server.generate(Asked([Request([100000], 4)], PLAIN))


@pytest.mark.slow
def test_a_trainer_hands_the_server_its_weights_at_every_step(started, tmp_path: Path) -> None:
    url = {"vllm_mode": "server", "vllm_server_base_url": started.url}
    trainer_of(tmp_path, use_vllm=True, max_steps=3, learning_rate=3e-3, **url).train()
    for step in metrics_of(tmp_path)[:3]:
        assert step["sync/difference"] < 1e-4 and step["sampling/sampling_logp_difference/mean"] < 1e-4
    kept = {path.name for path in (tmp_path / WEIGHTS_FOLDER).iterdir()}
    assert kept == {"step-1", "step-2"}, "what the server has, and what it had before"


@pytest.mark.slow
def test_a_server_killed_in_the_middle_of_a_run_ends_it_with_one_line_and_a_checkpoint(started, tmp_path: Path) -> None:
    """The last test: there is no server afterwards."""
    small = {"max_steps": 500, "num_rows": 64, "per_device_train_batch_size": 8, "save_steps": 1, "save_total_limit": 3}
    settings = {"use_vllm": True, "vllm_mode": "server", "vllm_server_base_url": started.url, **small}
    command = [sys.executable, "-m", "concise_rl.train", "--config", "recipes/tiny/grpo.yaml"]
    words = [str(word) for key, value in settings.items() for word in (f"--{key}", value)]
    command += ["--output_dir", str(tmp_path / "run"), *words]
    with (tmp_path / "log").open("w") as log:
        run = subprocess.Popen(command, cwd=ROOT, stderr=log, stdout=log, start_new_session=True)
    while run.poll() is None and not last_complete(str(tmp_path / "run")):
        time.sleep(0.2)
    started.kill()
    killed = time.monotonic()
    assert run.wait(timeout=60) == 1
    assert time.monotonic() - killed < 30
    last_line = (tmp_path / "log").read_text().splitlines()[-1]
    assert last_line.startswith("error: ") and started.url in last_line and "concise-rl serve" in last_line
    checkpoint = last_complete(str(tmp_path / "run"))
    AutoModelForCausalLM.from_pretrained(checkpoint)
    assert not Served(run, "").survivors(), "the run's workers went with it"
