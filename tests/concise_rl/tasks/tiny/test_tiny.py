"""The embedded reasoner: its problems, its traces, and what its weights can do."""

import itertools
import json
import random
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from concise_rl.models.resolve import resolve_model
from concise_rl.reading.trace import Delimiters, read_trace
from concise_rl.rollout.engine import Asked, Request, Sampling
from concise_rl.rollout.engines.transformers import load_engine
from concise_rl.tasks.reasoning.overthinking import Habits
from concise_rl.tasks.reasoning.tasks import parse_sum
from concise_rl.tasks.tiny import generate_problems, load_problems, load_traces
from concise_rl.tasks.tiny.model import build_model, build_tokenizer
from concise_rl.tasks.tiny.traces import overthinking_completion, shortest_completion

TOKENIZER = build_tokenizer()
SUMS = st.lists(st.integers(0, 9), min_size=3, max_size=6).flatmap(
    lambda terms: st.lists(st.sampled_from("+-"), min_size=len(terms) - 1, max_size=len(terms) - 1).map(
        lambda signs: " ".join([str(terms[0]), *(f"{s} {t}" for s, t in zip(signs, terms[1:], strict=True))])
    )
)


@given(SUMS)
def test_the_terms_of_an_expression_add_up_to_it(expression: str) -> None:
    assert sum(parse_sum(expression)) == eval(expression)


@given(SUMS, st.integers(0, 1000))
def test_the_tokenizer_is_lossless_on_traces(expression: str, seed: int) -> None:
    text = overthinking_completion(expression, random.Random(seed))
    ids = TOKENIZER(text).input_ids
    assert TOKENIZER.decode(ids) == text and TOKENIZER.unk_token_id not in ids


@given(SUMS)
def test_the_shortest_completion_has_one_line_for_each_operation_and_the_right_answer(expression: str) -> None:
    thinking, answer = shortest_completion(expression).split("</think>\n")
    assert int(answer) == eval(expression)
    assert thinking.count("=") == len(parse_sum(expression)) - 1


@given(SUMS, st.integers(0, 1000))
def test_without_slips_an_overthinking_completion_is_right_and_never_shorter_than_the_oracle(
    expression: str, seed: int
) -> None:
    text = overthinking_completion(expression, random.Random(seed), Habits(first_slip=0, check_slip=0))
    assert int(text.split("</think>\n")[1]) == eval(expression)
    assert len(text) >= len(shortest_completion(expression))


def test_a_slip_of_the_first_pass_is_mostly_caught_by_the_checks() -> None:
    careful, careless = Habits(first_slip=0.2, check_slip=0, no_check=0), Habits(first_slip=0.2, no_check=1)
    rng = random.Random(0)
    right = {
        habits: sum(overthinking_completion("4 + 3 - 9 + 2", rng, habits).endswith("\n0") for _ in range(200))
        for habits in (careful, careless)
    }
    assert right[careful] == 200 > right[careless] + 50


def test_texts_that_early_exit_methods_force_are_in_vocabulary() -> None:
    for text in (
        "Time is limited, stop thinking and start answering.\n</think>\n\n",
        "\n\nWait, I have enough information to get the final answer.</think>\n\n"
        "Therefore, the final answer is \\boxed{",
    ):
        ids = TOKENIZER(text).input_ids
        assert TOKENIZER.unk_token_id not in ids and TOKENIZER.decode(ids) == text


def test_no_problem_of_the_test_split_is_in_the_train_split() -> None:
    train, test = ({_prompt(row) for row in itertools.islice(generate_problems(s, 0), 3000)} for s in ("train", "test"))
    assert not train & test


def _prompt(row: dict) -> str:
    return row["prompt"]


def test_problems_differ_within_a_load_and_by_seed_and_repeat_for_the_same_seed() -> None:
    first, again, other = load_problems("test", 200, 1), load_problems("test", 200, 1), load_problems("test", 200, 2)
    assert first == again and len({row["prompt"] for row in first}) == 200
    assert [row["prompt"] for row in first] != [row["prompt"] for row in other]


def test_problems_have_the_answer_and_the_metadata_of_reasoning_gym() -> None:
    row = load_problems("train", 1)[0]
    assert row["answer"] == str(eval(json.loads(row["metadata"])["expression"]))


def test_an_unknown_split_is_refused() -> None:
    with pytest.raises(ValueError, match="train and test, not 'validation'"):
        load_problems("validation", 1)


def test_demonstrations_begin_with_single_passes_and_are_never_of_test_problems() -> None:
    rows = load_traces(100, seed=0)
    held_out = {row["prompt"] for row in load_problems("test", 3000)}
    assert all("So " not in row["answer"] for row in rows[:60]) and any("So " in row["answer"] for row in rows[60:])
    assert not held_out & {row["prompt"] for row in rows}


def test_an_unknown_name_gives_the_nearest() -> None:
    with pytest.raises(ValueError, match="Did you mean 'tiny:base'"):
        resolve_model("tiny:bas")


def test_hub_ids_and_folders_are_left_as_they_are(tmp_path) -> None:
    (tmp_path / "config.json").write_text("{}")
    assert resolve_model("Qwen/Qwen3-8B") == "Qwen/Qwen3-8B"
    assert resolve_model(str(tmp_path)) == str(tmp_path)


def test_a_folder_without_a_model_is_refused(tmp_path) -> None:
    with pytest.raises(ValueError, match=r"holds no model: there is no config\.json in it"):
        resolve_model(str(tmp_path))


def test_the_folder_of_a_training_that_goes_on_is_answered_with_its_last_checkpoint(tmp_path) -> None:
    for step in (5, 40, 120):
        (tmp_path / f"checkpoint-{step}").mkdir()
        (tmp_path / f"checkpoint-{step}/config.json").touch()
    with pytest.raises(ValueError, match=r"The last checkpoint of this run is .*checkpoint-120\."):
        resolve_model(str(tmp_path))


def test_the_untrained_model_is_the_same_each_time_and_about_a_million_parameters() -> None:
    first, again = build_model(TOKENIZER), build_model(TOKENIZER)
    assert 800_000 < first.num_parameters() < 1_200_000
    assert all((a == b).all() for a, b in zip(first.parameters(), again.parameters(), strict=True))


class Measured(NamedTuple):
    """What the shipped reasoner did on 256 test problems, one sample each at temperature 1."""

    answers: list[str]
    first_passes: list[str]
    tokens: float
    oracle: float
    gold: list[str]

    def accuracy(self, answers: list[str]) -> float:
        return sum(a == g for a, g in zip(answers, self.gold, strict=True)) / len(self.gold)


@pytest.fixture(scope="module")
def measured() -> Measured:
    engine = load_engine("tiny:base", batch_size=128)
    rows = load_problems("test", 256)
    chats = [[{"role": "user", "content": row["prompt"]}] for row in rows]
    prompts = [engine.tokenizer.apply_chat_template(c, add_generation_prompt=True)["input_ids"] for c in chats]
    delimiters = Delimiters.of(engine.tokenizer, engine.eos_token_ids, "</think>")
    completions = engine.generate(
        Asked([Request(prompt, 512, seed) for seed, prompt in enumerate(prompts)], Sampling())
    )
    traces = [read_trace(c.ids, delimiters) for c in completions]
    # The first pass ends where the reasoner states its total ("So 13.") or, without a check, stops.
    texts = [engine.tokenizer.decode(c.ids[: t.think_length]) for c, t in zip(completions, traces, strict=True)]
    return Measured(
        answers=[engine.tokenizer.decode(list(t.answer_ids or ())).strip() for t in traces],
        first_passes=[text.partition("So ")[0].strip().rpartition(" ")[2] for text in texts],
        tokens=sum(t.length for t in traces) / len(rows),
        oracle=sum(len(engine.tokenizer(row["oracle_completion"]).input_ids) + 1 for row in rows) / len(rows),
        gold=[row["answer"] for row in rows],
    )


@pytest.mark.slow
def test_the_shipped_reasoner_is_mostly_right_and_more_than_half_of_its_tokens_are_redundant(
    measured: Measured,
) -> None:
    assert 0.75 <= measured.accuracy(measured.answers) <= 0.95
    assert 100 <= measured.tokens <= 250 and measured.oracle < measured.tokens / 2


@pytest.mark.slow
def test_cutting_the_shipped_reasoner_after_its_first_pass_costs_accuracy(measured: Measured) -> None:
    assert measured.accuracy(measured.first_passes) < measured.accuracy(measured.answers) - 0.05
