"""`concise-rl try`, from words to what is printed."""

import importlib.util
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from concise_rl.cli import main
from concise_rl.rollout.engine import Asked, Request, Sampling, derive_seed
from concise_rl.rollout.engines.transformers import load_engine
from concise_rl.tasks.tiny import WEIGHTS, load_problems
from tests.concise_rl.rollout.fake_server import FakeServer
from tests.serving import free_port, serving


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("concise_rl.evaluate.ask.run.PATIENCE_S", 0.2)


def objects(words: list[str], capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    main(["try", *words, "--json"])
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_what_is_streamed_is_what_the_engine_draws_for_the_same_seed(capsys: pytest.CaptureFixture[str]) -> None:
    (told,) = objects(["tiny:base", "--index", "2", "--seed", "5"], capsys)
    engine = load_engine("tiny:base")
    row = load_problems("test", 3, seed=5)[2]
    prompt = engine.tokenizer.apply_chat_template(
        [{"role": "user", "content": row["prompt"]}], add_generation_prompt=True
    )["input_ids"]
    (completion,) = engine.generate(Asked([Request(prompt, 512, derive_seed(5, 2, 0))], Sampling()))
    assert told["text"] == engine.tokenizer.decode(completion.ids, skip_special_tokens=True)
    assert (told["question"], told["gold"], told["tokens"]["total"]) == (
        row["prompt"],
        row["answer"],
        len(completion.ids),
    )


def test_two_models_answer_the_same_question_and_are_compared(capsys: pytest.CaptureFixture[str]) -> None:
    main(["try", "tiny:grpo_lambda", "--against", "tiny:base", "--seed", "3", "4 - 5 + 2 + 3"])
    out = capsys.readouterr().out
    assert out.count("your question: State the final answer") == 1
    assert "== tiny:grpo_lambda ==" in out and "== tiny:base ==" in out and "\x1b" not in out
    assert "tiny:grpo_lambda takes" in out.splitlines()[-1]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nosuch"], "No model at 'nosuch'"),
        (["tiny:bse"], "Did you mean 'tiny:base'?"),
        (["org/name"], "Nothing is asked: give a question in quotes, or the task to take one from"),
        (["tiny:base", " "], "The question is empty"),
        (["tiny:base", "1 + 2 + 3", "--gold", ""], "--gold is empty"),
        (["tiny:base", "1 + 2 + 3", "--task", "tiny:sums"], "A question and --task (or --index) are given"),
        (["tiny:base", "1 + 2 + 3", "--index", "0"], "A question and --task (or --index) are given"),
        (["tiny:base", "--gold", "4"], "give the question, too"),
        (["tiny:base", "--index", "-1"], "the first question has number 0"),
        (["tiny:base", "--max-tokens", "0"], "max_tokens: Input should be greater than or equal to 1, got 0"),
        (["tiny:base", "--engine", "ollama"], "Unknown engine 'ollama'"),
        (["http://127.0.0.1:1", "hi", "--engine", "vllm"], "is a server already: leave --engine vllm out"),
        (["tiny:base", "--engine", "http://127.0.0.1:1", "--against", "tiny:s_grpo"], "holds one model"),
        (
            ["tiny:base", "--engine", "http://127.0.0.1:1", "--against", "http://127.0.0.1:2"],
            "answers at http://127.0.0.1:2",
        ),
        (["tiny:base", "--max-tokens", "5000"], "has a context of 1024: lower --max-tokens from 5000 to 1002"),
        (["tiny:base", "9 + 9 + 9 " * 300], "tokens, and tiny:base has a context of 1024: ask a shorter one"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(words: list[str], said: str) -> None:
    with pytest.raises(SystemExit) as exit:
        main(["try", *words])
    assert said in str(exit.value) and "\n" not in str(exit.value)


def test_a_server_that_is_not_there_is_said_at_once() -> None:
    for words in ([f"http://127.0.0.1:{free_port()}"], ["tiny:base", "--engine", f"http://127.0.0.1:{free_port()}"]):
        with pytest.raises(SystemExit, match=r"No vLLM server answers at .* start one with `concise-rl serve MODEL`"):
            main(["try", *words])


def test_a_server_whose_model_has_another_name_here_is_said() -> None:
    with FakeServer() as fake, pytest.raises(SystemExit, match="calls its model 'fake', and no tokenizer is found"):
        main(["try", fake.url, "hi"])


def test_a_folder_that_is_no_model_is_said(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"holds no model: there is no config\.json in it"):
        main(["try", str(tmp_path), "hi"])


def test_a_model_without_a_chat_template_is_said(tmp_path: Path) -> None:
    model = tmp_path / "model"
    shutil.copytree(WEIGHTS / "base", model)
    (model / "chat_template.jinja").unlink()
    with pytest.raises(SystemExit, match="has no chat template"):
        main(["try", str(model), "hi"])


@pytest.mark.parametrize("words", [["1 + 2 - 3"], ["1", "+", "2", "-", "3"]])
def test_options_may_stand_before_the_question_and_quotes_be_forgotten(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    (told,) = objects(["tiny:s_grpo", "--temperature", "0", *words], capsys)
    assert (told["gold"], told["answer"], told["correct"]) == ("0", "0", True)


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vLLM is not installed")
def test_a_real_server_is_asked_by_its_url_alone(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("concise_rl.evaluate.ask.run.PATIENCE_S", 240.0)
    with serving("tiny:base") as server:
        (asked,) = objects([server.url, "--temperature", "0"], capsys)
        (named,) = objects(["tiny:base", "--engine", server.url, "--temperature", "0"], capsys)
    (here,) = objects(["tiny:base", "--temperature", "0"], capsys)
    assert asked["parts"] == named["parts"] == here["parts"]
    assert asked["correct"] and asked["tokens"] == here["tokens"]
