"""The model judge: what it asks, how replies are read, and that a server which fails leaves nothing unlabelled."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from concise_rl.errors import EngineError
from concise_rl.labels.judges import Passage, build_judge, judge_options, problem_of
from concise_rl.labels.judges.model import DETECTOR, ModelJudge, prompt_of
from concise_rl.rollout.engines.server import VllmServer
from concise_rl.tasks.tiny import load_problems
from concise_rl.verify.pool import VerifierPool
from tests.concise_rl.labels.judges.fake_judge import TOKENIZER, FakeJudge
from tests.serving import free_port

VERIFIER = VerifierPool("reasoning_gym")
PLAIN = r"\boxed{{answer}} {passage} ? {problem}"
"""A question in words that the embedded tokenizer has."""


def passage(text: str, answer: str = "7", **row: Any) -> Passage:
    return Passage({"prompt": "3 + 4", "answer": answer, **row}, text, 0, len(text))


def truthful(question: str) -> str:
    """Yes where the answer stands in the passage."""
    answer, _, passage = question.partition("boxed{")[2].partition("}")
    return r"\boxed{Yes}" if f" {answer}" in passage.partition("?")[0] else r"\boxed{No}"


def lying(question: str) -> str:
    return r"\boxed{No}" if truthful(question) == r"\boxed{Yes}" else r"\boxed{Yes}"


def judge_at(url: str, **options: Any) -> ModelJudge:
    settings = {"model": "tiny:base", "server": url, "prompt": PLAIN, "start_timeout": 1.0, **options}
    judge = build_judge("model", settings, VERIFIER)
    assert isinstance(judge, ModelJudge)
    return judge


def loaded(model: str = "tiny:untrained", **options: Any) -> ModelJudge:
    judge = build_judge("model", {"model": model, "prompt": PLAIN, **options}, VERIFIER)
    assert isinstance(judge, ModelJudge)
    return judge


def test_a_model_beside_one_that_zero_3_shards_is_refused_for_a_server(monkeypatch) -> None:
    monkeypatch.setattr("concise_rl.labels.judges.model.is_deepspeed_zero3_enabled", lambda: True)
    with pytest.raises(ValueError, match="set the judge's option `server`"):
        loaded()


def test_a_server_that_is_right_says_which_passages_state_the_answer() -> None:
    with FakeJudge(truthful) as fake:
        judge = judge_at(fake.url)
        assert judge.states([passage("So 7."), passage("Wait, 3 + 4"), passage("So 7.", "8")]) == [True, False, False]
    assert judge.counters == {"too_long": 0, "unclear": 0}


def test_a_server_that_is_wrong_is_believed() -> None:
    with FakeJudge(lying) as fake:
        assert judge_at(fake.url).states([passage("So 7."), passage("So 8.")]) == [False, True]


@pytest.mark.parametrize(
    ("reply", "state"),
    [("Yes", True), (r"\boxed{Yes}", True), ("No, Yes", True), ("No.", False), ("Hmm, let me", None), ("", None)],
)
def test_a_reply_with_a_yes_is_yes_one_with_a_no_is_no_and_another_is_neither(reply: str, state: bool | None) -> None:
    with FakeJudge(lambda question: reply) as fake:
        judge = judge_at(fake.url)
        assert judge.states([passage("So 7.")]) == [state]
    assert judge.counters["unclear"] == (state is None)


def test_the_judge_is_asked_greedily_for_five_tokens_in_the_words_of_its_prompt() -> None:
    with FakeJudge(truthful) as fake:
        judge_at(fake.url).states([passage("So 7.")])
    (body,) = (body for path, body in fake.seen if path == "/v1/completions")
    assert (body["max_tokens"], body["temperature"]) == (5, 0.0)
    assert fake.questions == ["<user>\\boxed{7} So 7. ? 3 + 4<assistant>"]


def test_a_model_without_a_chat_template_is_asked_in_plain_text() -> None:
    with FakeJudge(truthful) as fake:
        judge = judge_at(fake.url)
        judge.tokenizer.chat_template = None
        judge.states([passage("So 7.")])
    assert fake.questions == ["\\boxed{7} So 7. ? 3 + 4"]


def test_what_stands_in_braces_in_a_passage_or_a_problem_stays_as_it_is() -> None:
    with FakeJudge(truthful) as fake:
        judge_at(fake.url).states([passage("{answer} So", prompt="{passage}")])
    assert fake.questions == ["<user>\\boxed{7} {answer} So ? {<unk>}<assistant>"]


def test_the_same_question_is_asked_once() -> None:
    with FakeJudge(truthful) as fake:
        assert judge_at(fake.url).states([passage("So 7."), passage("So 8."), passage("So 7.")]) == [True, False, True]
    assert len(fake.questions) == 2


@pytest.mark.parametrize(("limit", "context"), [(30, 1024), (17_990, 35)])
def test_a_passage_that_does_not_fit_states_nothing_and_is_counted(limit: int, context: int) -> None:
    with FakeJudge(truthful, context=context) as fake:
        judge = judge_at(fake.url, max_input_tokens=limit)
        assert judge.states([passage("So 7." * 9), passage("So 7.")]) == [False, True]
    assert judge.counters == {"too_long": 1, "unclear": 0} and len(fake.questions) == 1


def test_no_passages_are_no_questions() -> None:
    with FakeJudge(truthful, "error") as fake:
        assert judge_at(fake.url).states([]) == []


@pytest.mark.parametrize(
    ("behaviour", "says"),
    [
        ("error", "HTTP 500: EngineCore encountered an issue"),
        ("bad_request", "HTTP 400"),
        ("cut_json", "what is no JSON"),
        ("no_ids", "left 0.token_ids out"),
        ("empty", "an empty completion"),
        ("reset", "is gone"),
    ],
)
def test_a_server_that_breaks_is_an_error_that_says_how(behaviour: str, says: str) -> None:
    with FakeJudge(truthful, behaviour) as fake, pytest.raises(EngineError, match=says):
        judge_at(fake.url).states([passage("So 7."), passage("So 8.")])


def test_a_slow_server_is_waited_for() -> None:
    def slow(question: str) -> str:
        time.sleep(0.5)
        return truthful(question)

    with FakeJudge(slow) as fake:
        assert judge_at(fake.url, timeout=30.0).states([passage("So 7.")]) == [True]


def test_a_server_that_hangs_is_an_error_when_its_time_is_up() -> None:
    with FakeJudge(truthful, "hang") as fake, pytest.raises(EngineError, match="has not ended a completion for 0"):
        judge_at(fake.url, timeout=0.2).states([passage("So 7.")])


def test_no_server_at_all_is_an_error_at_the_start() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(EngineError, match=f"No vLLM server answers at {url}"):
        judge_at(url, start_timeout=0.0)


def test_a_server_of_another_model_is_an_error() -> None:
    with FakeJudge(truthful) as fake, pytest.raises(ValueError, match="set the judge's option `model`"):
        judge_at(fake.url, model="tiny:untrained")


def test_closing_leaves_the_server_alone() -> None:
    with FakeJudge(truthful) as fake:
        judge_at(fake.url).close()
        assert VllmServer(fake.url, [1], start_timeout=10.0).max_model_len == 1024


def test_a_loaded_model_judges_each_passage_and_what_it_babbles_is_counted() -> None:
    judge = loaded(batch_size=2)
    problems = load_problems("train", 3)
    states = judge.states([Passage(row, f"So {row['answer']}.\n", 0, 5) for row in problems])
    assert states == [None] * 3 and judge.counters["unclear"] == 3
    judge.close()


def test_a_loaded_model_that_says_yes_is_understood() -> None:
    judge = loaded()
    always(judge, " Yes")
    assert judge.states([passage("So 7."), passage("Hmm")]) == [True, True]
    always(judge, " No")
    assert judge.states([passage("So 7.")]) == [False]


def always(judge: ModelJudge, word: str) -> None:
    """Make a judge's own model say one word, whatever it is asked: its last norm gives a constant that only that word's
    embedding matches."""
    model: Any = judge.engine.model
    (token,) = TOKENIZER.encode(word, add_special_tokens=False)
    model.lm_head.weight = torch.nn.Parameter(torch.zeros_like(model.lm_head.weight))
    model.model.norm.forward = lambda hidden: torch.ones_like(hidden)
    model.lm_head.weight.data[token] = 1.0


def test_a_loaded_model_leaves_the_generator_of_the_trainer_alone() -> None:
    judge = loaded()
    before = torch.get_rng_state()
    judge.states([passage("So 7.")])
    assert torch.equal(torch.get_rng_state(), before)


def test_a_loaded_model_is_not_asked_beyond_its_context() -> None:
    assert loaded().max_input_tokens == 1024 - 5


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ({"prompt": "1 + 1"}, "1 + 1"),
        ({"prompt": [{"role": "user", "content": "think! 1 + 1"}], "problem": "1 + 1"}, "1 + 1"),
        ({"prompt": [{"role": "system", "content": "be brief"}, {"role": "user", "content": "1 + 1"}]}, "1 + 1"),
    ],
)
def test_the_problem_is_the_text_of_the_row(row: Mapping[str, Any], problem: str) -> None:
    assert problem_of(row) == problem


@pytest.mark.parametrize("model", [DETECTOR, "runs/DECS_NRP_DETECTOR", "Qwen/Qwen3-8B"])
def test_the_prompt_asks_for_a_boxed_word_about_all_three(model: str) -> None:
    prompt = prompt_of(judge_options("model", {"model": model}))
    assert all(part in prompt for part in ("{problem}", "{passage}", "{answer}", r"\boxed{yes}", r"\boxed{no}"))


def test_the_published_judge_is_asked_in_the_published_words_and_another_in_ours() -> None:
    published = prompt_of(judge_options("model"))
    assert published.startswith("Given a math problem and a segement of a long reasoning process")
    assert published.endswith("**Reasoning segment**:\n{passage}\n**Ground Truth**: {answer}")
    assert prompt_of(judge_options("model", {"model": f"models/{DETECTOR.rpartition('/')[2]}"})) == published
    assert prompt_of(judge_options("model", {"model": "Qwen/Qwen3-8B"})) != published


def test_a_prompt_may_be_a_file(tmp_path: Path) -> None:
    (tmp_path / "ask.txt").write_text(PLAIN)
    assert prompt_of(judge_options("model", {"prompt": str(tmp_path / "ask.txt")})) == PLAIN


def test_the_chat_template_is_told_not_to_think() -> None:
    with FakeJudge(truthful) as fake:
        judge = judge_at(fake.url)
        judge.tokenizer.chat_template = "{{ 'Hmm' if enable_thinking else 'So' }} {{ messages[0]['content'] }}"
        judge.states([passage("So 7.")])
    assert fake.questions == ["So \\boxed{7} So 7. ? 3 + 4"]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"sever": "http://x"}, "Did you mean 'server'"),
        ({"prompt": "{problem} {passage}"}, "would not be told {answer}"),
        ({"prompt": "nowhere.txt"}, "there is no prompt file 'nowhere.txt'"),
        ({"max_new_tokens": 0}, "max_new_tokens"),
        ({"timeout": float("inf")}, "timeout"),
    ],
)
def test_options_that_cannot_be_are_errors_before_anything_is_loaded(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        judge_options("model", options)


def test_a_model_that_is_not_there_is_an_error() -> None:
    with pytest.raises(ValueError, match="No model at"):
        loaded("./nowhere")
