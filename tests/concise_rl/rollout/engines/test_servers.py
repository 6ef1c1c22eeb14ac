"""Several servers as one engine: which of them a request goes to, and that real ones draw what one draws."""

import importlib.util
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import torch
from transformers import LlamaConfig

from concise_rl.errors import EngineError
from concise_rl.evaluate.engines import ServedModel
from concise_rl.rollout.engine import Asked, Peek, Request, Sampling, derive_seed
from concise_rl.rollout.engines.crowd import Balance
from concise_rl.rollout.engines.fleet import environments_of, started_servers
from concise_rl.rollout.engines.server import VllmServer
from concise_rl.rollout.engines.servers import Servers
from concise_rl.rollout.engines.transformers import load_engine
from concise_rl.rollout.sync.weights import write_weights
from concise_rl.tasks.tiny import load_problems
from tests.concise_rl.rollout.fake_server import EOS, FakeServer, answer_to
from tests.serving import ROOT

PLAIN = Sampling()
needs_vllm = pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vLLM is not installed")


def servers_of(*fakes: FakeServer) -> Servers:
    return Servers([VllmServer(fake.url, [EOS], start_timeout=10.0, rollout_timeout=20.0) for fake in fakes])


def prompts_sent(fake: FakeServer) -> list[list[int]]:
    return [body["prompt"] for path, body in fake.seen if path == "/v1/completions"]


def test_requests_are_spread_evenly_and_answers_come_in_order() -> None:
    requests = [Request([10 + i, 20 + i], 8, seed=i) for i in range(12)]
    with FakeServer() as one, FakeServer() as two:
        completions = servers_of(one, two).generate(Asked(requests, PLAIN))
    assert [c.ids for c in completions] == [answer_to(list(r.prompt_ids), 8) for r in requests]
    assert abs(len(prompts_sent(one)) - len(prompts_sent(two))) <= 4 and prompts_sent(two)


def test_what_goes_on_goes_to_the_server_that_has_its_beginning() -> None:
    beginnings = [[i] * 20 for i in range(10, 18)]
    with FakeServer() as one, FakeServer() as two:
        servers = servers_of(one, two)
        servers.generate(Asked([Request(ids, 4) for ids in beginnings], PLAIN))
        first = [{tuple(ids) for ids in prompts_sent(fake)} for fake in (one, two)]
        for ids in beginnings:
            servers.generate(Asked([Request([*ids, 5, 6], 4)], PLAIN))
        for fake, begun in zip((one, two), first, strict=True):
            assert {tuple(ids[:20]) for ids in prompts_sent(fake)[len(begun) :]} <= begun


def test_every_server_takes_the_weights_and_is_compared_with_the_trainer(tmp_path: Path) -> None:
    write_weights(tmp_path / "step-1", [("weight", torch.ones(2))], LlamaConfig())
    with FakeServer() as one, FakeServer() as two:
        servers = servers_of(one, two)
        servers.load_weights(tmp_path / "step-1")
        assert all(fake.paths.count("reload_weights") == 1 for fake in (one, two))
        assert servers.score([5, 6, 7]) == [[-6.0, -7.0], [-6.0, -7.0]]
        two.behaviour = "reload_dies"
        with pytest.raises(EngineError, match=f"{two.url} is gone"):
            servers.load_weights(tmp_path / "step-1")


def test_a_much_busier_server_is_passed_over_though_it_has_the_beginning() -> None:
    balance = Balance([0, 0])
    balance.note([7] * 16, 1)
    with balance.server_for([7] * 16) as home:
        assert home == 1
    balance.load = [10, 14]
    with balance.server_for([7] * 16) as chosen:
        assert chosen == 0


def test_a_server_that_fails_is_named() -> None:
    with FakeServer() as one, FakeServer("error") as two, pytest.raises(EngineError, match=f"{two.url} answered"):
        servers_of(one, two).generate(Asked([Request([10 + i], 4) for i in range(6)], PLAIN))


def test_each_completion_is_handed_on_as_it_ends() -> None:
    landed = {}
    requests = [Request([10 + i], 8) for i in range(6)]
    with FakeServer() as one, FakeServer() as two:
        completions = servers_of(one, two).generate(Asked(requests, PLAIN, landed=landed.__setitem__))
    assert [landed[i] for i in range(6)] == completions


def test_servers_on_gpus_have_one_each_of_those_that_may_be_used(monkeypatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    assert [environment["CUDA_VISIBLE_DEVICES"] for environment in environments_of(2)] == ["3", "5"]
    with pytest.raises(ValueError, match="3 servers need a GPU each, and there are 2: lower --data-parallel"):
        environments_of(3)


@needs_vllm
@pytest.mark.slow
def test_a_server_that_does_not_start_is_said_with_its_log(tmp_path: Path) -> None:
    began = time.monotonic()
    with (
        pytest.raises(EngineError, match=r"does not start: error: No model at .* The logs of the servers are in /"),
        started_servers(str(tmp_path / "nothing"), 1, []),
    ):
        pass
    assert time.monotonic() - began < 60


# Two real servers, started once.


def lives(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


def assert_all_end(processes: list[psutil.Process]) -> None:
    """Soon: a server's own processes end after it."""
    deadline = time.monotonic() + 30
    while any(map(lives, processes)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any(map(lives, processes))


@pytest.fixture(scope="module")
def urls() -> Iterator[list[str]]:
    if importlib.util.find_spec("vllm") is None:
        pytest.skip("vLLM is not installed")
    os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
    before = psutil.Process().children(recursive=True)
    with started_servers("tiny:base", 2, ["--max-model-len", "512"]) as found:
        started = [process for process in psutil.Process().children(recursive=True) if process not in before]
        yield found
    assert len(started) >= 2
    assert_all_end(started)


@pytest.mark.slow
def test_two_servers_draw_and_look_as_one_does(urls) -> None:
    reference = load_engine("tiny:base", batch_size=8)
    chats = [[{"role": "user", "content": row["prompt"]}] for row in load_problems("test", 6)]
    prompts = [reference.tokenizer.apply_chat_template(c, add_generation_prompt=True)["input_ids"] for c in chats]
    requests = [Request(prompts[i // 2], 120, derive_seed(3, i)) for i in range(12)]
    one, two = ServedModel(urls[:1], "tiny:base"), ServedModel(urls, "tiny:base")
    assert one.generate(Asked(requests, PLAIN)) == two.generate(Asked(requests, PLAIN))
    looks = [Peek(ids, (7,)) for ids in prompts]
    for ours, theirs in zip(two.peek(looks), reference.peek(looks), strict=True):
        assert ours.top_id == theirs.top_id
        assert (ours.entropy, *ours.logprobs) == pytest.approx((theirs.entropy, *theirs.logprobs), abs=1e-3)


@pytest.mark.slow
def test_looks_behind_sampled_thinking_find_it_in_the_cache(urls) -> None:
    """By the counters of vLLM, whole blocks of 32 tokens."""
    served = ServedModel(urls, "tiny:base")
    prompts = [[100 + i, *range(20, 60)] for i in range(8)]
    thought = served.generate(Asked([Request(ids, 200, i) for i, ids in enumerate(prompts)], PLAIN))
    asked, found = (cache_counters(served, name) for name in ("queries", "hits"))
    looks = [Peek([*ids, *one.ids, 7, 8]) for ids, one in zip(prompts, thought, strict=True)]
    served.peek(looks)
    asked, found = cache_counters(served, "queries") - asked, cache_counters(served, "hits") - found
    assert asked == sum(len(look.prompt_ids) for look in looks)
    blocks = sum((len(look.prompt_ids) - 3) // 32 * 32 for look in looks)  # the last sampled token was never read
    assert found == blocks


def cache_counters(served: ServedModel, name: str) -> int:
    """Of all servers: tokens that were looked up in the cache of prefixes, or found there."""
    total = 0.0
    for server in served.server.servers:
        lines = server.http.send("GET", "/metrics").text.splitlines()
        total += sum(float(line.split()[-1]) for line in lines if line.startswith(f"vllm:prefix_cache_{name}_total"))
    return int(total)


@pytest.mark.slow
def test_servers_end_with_a_process_that_is_killed(tmp_path: Path) -> None:
    if importlib.util.find_spec("vllm") is None:
        pytest.skip("vLLM is not installed")
    script = (
        "import time\nfrom concise_rl.rollout.engines import fleet\n"
        "fleet._wait_until_healthy = lambda *_: None\n"
        "with fleet.started_servers('tiny:base', 1, []) as urls:\n    print(urls, flush=True)\n    time.sleep(600)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline()
    started = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert started
    assert_all_end(started)
