"""`concise-rl serve` up to the point where it becomes vLLM; test_vllm_server goes on from there."""

import importlib.util
import os
import sys

import pytest

from concise_rl.cli import main
from concise_rl.models.resolve import resolve_model
from concise_rl.rollout.engines.serve import MODULE, build_command, server_environment

needs_vllm = pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vLLM is not installed")


def command(*flags: str, on_cpu: bool = True) -> list[str]:
    return build_command("MODEL", "127.0.0.1", 8000, flags, on_cpu=on_cpu)


def value(words: list[str], flag: str) -> str:
    assert words.count(flag) == 1
    return words[words.index(flag) + 1]


@pytest.fixture
def became(monkeypatch) -> list[tuple[str, list[str], dict[str, str]]]:
    """What this process would have become."""
    calls: list[tuple[str, list[str], dict[str, str]]] = []
    monkeypatch.setattr(os, "execve", lambda *call: calls.append(call))
    return calls


@needs_vllm
def test_the_process_becomes_the_server_of_the_model(became) -> None:
    main(["serve", "tiny:base", "--port", "8123", "--max-model-len", "512"])
    ((program, words, environment),) = became
    assert program == sys.executable and words[1:3] == ["-m", MODULE]
    assert value(words, "--model") == resolve_model("tiny:base")
    assert (value(words, "--port"), value(words, "--max-model-len")) == ("8123", "512")
    assert environment["VLLM_SERVER_DEV_MODE"] == "1"


@needs_vllm
def test_address_flags_may_come_before_the_model(became) -> None:
    main(["serve", "--port", "8123", "--host", "0.0.0.0", "tiny:base"])
    words = became[0][1]
    assert (value(words, "--port"), value(words, "--host")) == ("8123", "0.0.0.0")


@needs_vllm
def test_a_model_that_is_not_there_is_an_error(became) -> None:
    with pytest.raises(SystemExit, match="error: Unknown embedded reasoner 'tiny:bass'"):
        main(["serve", "tiny:bass"])
    assert not became


def test_without_vllm_the_error_says_how_to_install_it(monkeypatch, became) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "vllm" else find(name))
    with pytest.raises(SystemExit, match=r"error: vLLM is not installed: `bash launch/setup\.sh vllm`"):
        main(["serve", "tiny:base"])
    assert not became


def test_only_this_machine_reaches_the_server_unless_told_otherwise() -> None:
    assert value(command(), "--host") == "127.0.0.1"
    assert "127.0.0.1" not in command("--host=0.0.0.0")


def test_log_probabilities_are_of_the_distribution_sampled_and_prefixes_are_cached() -> None:
    for on_cpu in (True, False):
        assert value(command(on_cpu=on_cpu), "--logprobs-mode") == "processed_logprobs"
        assert "--enable-prefix-caching" in command(on_cpu=on_cpu)


def test_the_models_own_generation_config_has_no_say() -> None:
    assert value(command(), "--generation-config") == "vllm"


@needs_vllm
def test_the_revision_and_trust_in_its_code_are_handed_on(became) -> None:
    main(["serve", "tiny:base", "--revision", "abc", "--trust-remote-code"])
    assert value(became[0][1], "--revision") == "abc" and "--trust-remote-code" in became[0][1]


def test_a_machine_without_a_gpu_computes_in_float32_and_eagerly() -> None:
    assert value(command(), "--dtype") == "float32" and "--enforce-eager" in command()
    assert "--dtype" not in command(on_cpu=False) and "--enforce-eager" not in command(on_cpu=False)


@pytest.mark.parametrize(
    ("given", "ours"),
    [
        (["--dtype", "bfloat16"], "float32"),
        (["--dtype=bfloat16"], "float32"),
        (["--logprobs_mode", "raw_logprobs"], "processed_logprobs"),
        (["--no-enforce-eager"], "--enforce-eager"),
        (["--no-enable-prefix-caching"], "--enable-prefix-caching"),
        (["--enable-chunked-prefill"], "--no-enable-chunked-prefill"),
    ],
)
def test_a_flag_of_the_user_takes_the_place_of_ours(given: list[str], ours: str) -> None:
    assert ours in command() and ours not in command(*given)
    assert command(*given)[-len(given) :] == given


def test_the_users_environment_wins_but_for_the_endpoints_that_training_needs(monkeypatch) -> None:
    monkeypatch.setenv("VLLM_CPU_KVCACHE_SPACE", "7")
    monkeypatch.setenv("VLLM_SERVER_DEV_MODE", "0")
    environment = server_environment(on_cpu=True)
    assert environment["VLLM_CPU_KVCACHE_SPACE"] == "7" and environment["VLLM_SERVER_DEV_MODE"] == "1"
    monkeypatch.delenv("VLLM_CPU_KVCACHE_SPACE")
    assert int(server_environment(on_cpu=True)["VLLM_CPU_KVCACHE_SPACE"]) > 0
    assert "VLLM_CPU_KVCACHE_SPACE" not in server_environment(on_cpu=False)


def test_the_help_warns_of_the_network(capsys) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["serve", "--help"])
    shown = " ".join(capsys.readouterr().out.split())
    assert "on a trusted network only" in shown and "usage: concise-rl serve" in shown
