"""Evaluations with real engines on the embedded reasoner."""

import functools
import importlib.util
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset

from concise_rl.data.rows import load_rows
from concise_rl.evaluate.drawing import Drawing, complete_samples
from concise_rl.evaluate.engines import EvalEngine, open_engine
from concise_rl.evaluate.problems import encode_problems
from concise_rl.evaluate.progress import Progress
from concise_rl.evaluate.run import evaluate
from concise_rl.evaluate.samples import Sample, read_samples
from concise_rl.evaluate.spec import EvalSpec, Measurement, ModelRun
from concise_rl.evaluate.statistics import tabulate
from concise_rl.evaluate.vote import vote
from concise_rl.models.eos import load_tokenizer
from concise_rl.models.resolve import resolve_model
from concise_rl.rollout.engines.transformers import TransformersEngine
from concise_rl.verify.pool import VerifierPool
from tests.concise_rl.rollout.fake_server import FakeServer

PROBLEMS, SAMPLES = 6, 4
NEEDS_VLLM = pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vLLM is not installed")


def measurement(engine: EvalEngine, **changes: Any) -> Measurement:
    """Of a few samples, two problems at a time."""
    kind = "transformers" if isinstance(engine, TransformersEngine) else "vllm"
    settings = {"task": "tiny:sums", "samples": SAMPLES, "max_tokens": 320, "batch_size": 2 * SAMPLES, "engine": kind}
    return Measurement(**settings | changes)


@pytest.fixture(scope="module", params=["transformers", pytest.param("vllm", marks=[pytest.mark.slow, NEEDS_VLLM])])
def engine(request: pytest.FixtureRequest) -> Iterator[EvalEngine]:
    opened = Measurement(task="tiny:sums", max_tokens=320, engine=request.param)
    with open_engine("tiny:base", opened) as found:
        if isinstance(found, TransformersEngine):
            found.segment = 8
        yield found


@pytest.fixture(scope="module")
def rows() -> Dataset:
    return load_rows("tiny:sums", split="test", num_rows=PROBLEMS)


@pytest.fixture(scope="module")
def verifier() -> Iterator[VerifierPool]:
    with VerifierPool("reasoning_gym") as pool:
        yield pool


def sampled(
    engine: EvalEngine, rows: Dataset, settings: Measurement, path: Path, verifier: VerifierPool
) -> list[Sample]:
    progress = Progress("m", len(rows) * settings.samples)
    progress.add(read_samples(path))
    complete_samples(Drawing.of(engine, settings, verifier), rows, path, progress)
    return sorted(read_samples(path), key=lambda s: (s.problem, s.sample))


@pytest.mark.parametrize("keep", [1, 2])
def test_giving_samples_up_spares_tokens_and_leaves_the_voted_answers(
    engine: EvalEngine, rows: Dataset, verifier: VerifierPool, tmp_path: Path, keep: int
) -> None:
    whole = sampled(engine, rows, measurement(engine), tmp_path / "whole.jsonl", verifier)
    short = sampled(engine, rows, measurement(engine, keep_shortest=keep), tmp_path / "short.jsonl", verifier)
    one, other = (vote(tabulate(samples, PROBLEMS, SAMPLES), keep) for samples in (whole, short))
    assert one.answer_PK.tolist() == other.answer_PK.tolist()
    assert one.correct_PK.tolist() == other.correct_PK.tolist()
    assert other.length_PK.sum() < 0.9 * one.length_PK.sum()
    ended = [pair for pair in zip(whole, short, strict=True) if pair[1].stop_reason != "aborted"]
    assert len(ended) >= keep * PROBLEMS
    assert all(before == after for before, after in ended)
    for before, after in zip(whole, short, strict=True):
        assert before.completion_ids[: after.length] == after.completion_ids


def test_of_the_likeliest_token_alone_every_sample_is_the_same(
    engine: EvalEngine, rows: Dataset, verifier: VerifierPool, tmp_path: Path
) -> None:
    samples = sampled(engine, rows, measurement(engine, samples=2, top_k=1), tmp_path / "a.jsonl", verifier)
    assert all(one.text == other.text for one, other in zip(samples[::2], samples[1::2], strict=True))


def test_a_thinking_budget_holds_and_says_what_it_forced(
    engine: EvalEngine, rows: Dataset, verifier: VerifierPool, tmp_path: Path
) -> None:
    budgets = measurement(engine, think_budget=90, answer_budget=8, max_tokens=99)
    samples = sampled(engine, rows, budgets, tmp_path / "a.jsonl", verifier)
    forced = [s for s in samples if s.stop_reason == "think_budget"]
    assert 0 < len(forced) < len(samples)
    assert all(s.length <= 99 and s.think_length <= 90 and "</think>" in s.text for s in samples)
    assert all(s.sampled == s.length - 1 and s.think_length == 90 for s in forced)
    assert all(s.sampled == s.length for s in samples if s not in forced)


def test_a_cap_below_the_budgets_and_the_delimiter_is_refused(
    engine: EvalEngine, rows: Dataset, verifier: VerifierPool, tmp_path: Path
) -> None:
    budgets = measurement(engine, think_budget=30, answer_budget=8, max_tokens=39, think_end="</think>\n")
    with pytest.raises(ValueError, match="need a cap of 40 completion tokens"):
        sampled(engine, rows, budgets, tmp_path / "a.jsonl", verifier)


def test_an_evaluation_gone_on_with_ends_as_one_never_interrupted(
    engine: EvalEngine, rows: Dataset, verifier: VerifierPool, tmp_path: Path
) -> None:
    settings = measurement(engine)
    whole = sampled(engine, rows, settings, tmp_path / "whole.jsonl", verifier)
    lines = (tmp_path / "whole.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "torn.jsonl").write_text("".join(lines[:3] + lines[4:13]))
    assert sampled(engine, rows, settings, tmp_path / "torn.jsonl", verifier) == whole


def test_a_server_that_holds_another_model_is_refused() -> None:
    with FakeServer() as fake:
        served = Measurement(task="tiny:sums", engine=fake.url)
        with (
            pytest.raises(ValueError, match="holds 'fake', not 'tiny:base': start one"),
            open_engine("tiny:base", served),
        ):
            pass


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """Of a server that starts, and holds `tiny:base`."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "concise_rl.cli", "serve", "tiny:base", "--port", str(port)]
    environment = {**os.environ, "VLLM_CPU_KVCACHE_SPACE": "1"}
    process = subprocess.Popen(command, env=environment, start_new_session=True)
    yield f"http://127.0.0.1:{port}"
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@pytest.mark.slow
@NEEDS_VLLM
def test_a_server_samples_what_transformers_samples(url: str, tmp_path: Path) -> None:
    found = []
    for engine in (url, "transformers"):
        settings = {
            "samples": 1,
            "temperature": 0,
            "problems": PROBLEMS,
            "max_tokens": 320,
            "verifier": "reasoning_gym",
        }
        run, measured = ModelRun(label="m", model="tiny:base"), Measurement(task="tiny:sums", engine=engine, **settings)
        out = tmp_path / engine.partition(":")[0]
        patient = functools.partial(open_engine, patience=300)  # the server is starting
        evaluate(EvalSpec(measurement=measured, models=(run,)), out, load=patient)
        found.append(sorted(read_samples(run.samples_path(out)), key=lambda s: s.problem))
    assert found[0] == found[1]


def test_the_chat_template_is_told_what_the_measurement_says(rows: Dataset) -> None:
    tokenizer, _ = load_tokenizer(resolve_model("tiny:base"))
    tokenizer.chat_template = "{{ messages[0]['content'] }}{% if closed %}</think>{% endif %}"
    prompts = [
        [problem.prompt_ids for problem in encode_problems(rows, tokenizer, Measurement(task="tiny:sums", **told))]
        for told in ({}, {"chat_template_kwargs": {"closed": True}})
    ]
    (close,) = tokenizer.encode("</think>", add_special_tokens=False)
    assert prompts[1] == [[*ids, close] for ids in prompts[0]]
