"""What each policy decides, by hand, in the words of the embedded reasoner."""

import itertools
import math

import pytest
from transformers import PreTrainedTokenizerBase

from concise_rl.models.eos import load_tokenizer
from concise_rl.models.resolve import resolve_model
from concise_rl.reading.trace import Delimiters
from concise_rl.rollout.engine import Peeked
from concise_rl.rollout.exits import EXITS, ExitPolicy, ExitTools, Reading, exit_at, exit_of, looked_at
from concise_rl.rollout.exits.converge import Converge, RunJump
from concise_rl.rollout.exits.deer import Deer, confidence
from concise_rl.rollout.exits.dynasor import Dynasor
from concise_rl.rollout.exits.eat import Eat
from concise_rl.rollout.exits.think_brake import ThinkBrake

THINKING = "<think>\n7 + 1 = 8\nSo 8.\nWait, let me check.\n7 + 1 = 8\nYes, 8.\nHmm, check again.\n7 + 1 = 8\nYes, 8.\n"
POLICIES = [
    name
    for name, found in EXITS.items()
    if issubclass(found, ExitPolicy) and not found.model_json_schema().get("required")
]


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerBase:
    return load_tokenizer(resolve_model("tiny:base"))[0]


@pytest.fixture(scope="module")
def tools(tokenizer: PreTrainedTokenizerBase) -> ExitTools:
    assert tokenizer.eos_token_id is not None
    return ExitTools(Delimiters.of(tokenizer, [tokenizer.eos_token_id], "</think>"), tokenizer)


def ids_of(text: str, tools: ExitTools) -> tuple[int, ...]:
    return tuple(tools.tokenizer.encode(text, add_special_tokens=False))


def answered(tools: ExitTools, *answers: str) -> list[Reading]:
    """Readings in which these answers end; an empty one is cut off."""
    return [
        Reading(i, (*ids_of(answer, tools), tools.end()) if answer else ids_of("8", tools))
        for i, answer in enumerate(answers)
    ]


def peeked(*entropies: float) -> list[Reading]:
    return [Reading(i, peeked=Peeked(bits * math.log(2), 0, -0.5, (-0.5,))) for i, bits in enumerate(entropies)]


@pytest.mark.parametrize("name", POLICIES)
def test_places_of_a_beginning_are_the_first_of_all_places(name: str, tools: ExitTools) -> None:
    policy, ids = exit_of(name), ids_of(THINKING, tools)
    assert isinstance(policy, ExitPolicy)
    places = policy.places(ids, tools)
    assert all(one < other for one, other in itertools.pairwise(places))
    for n in range(len(ids)):
        begun = policy.places(ids[:n], tools)
        assert begun == places[: len(begun)] and all(at <= n for at in begun)


@pytest.mark.parametrize("name", POLICIES)
def test_a_policy_has_a_dial_that_is_an_option_and_a_grid_of_its_values(name: str) -> None:
    found = EXITS[name]
    assert bool(found.grid) == bool(found.dial)
    for value in found.grid:
        exit_of(f"{name}:{value:g}")


def test_a_trial_answer_is_as_sure_as_its_tokens_behind_the_first() -> None:
    logprobs = [-9.0, math.log(0.5), math.log(0.98)]
    assert confidence(logprobs, "avg1") == pytest.approx(0.74)
    assert confidence(logprobs, "avg2") == pytest.approx(0.7)
    assert confidence(logprobs, "min") == pytest.approx(0.5)
    assert confidence([-0.1], "avg1") == confidence([], "avg2") == 0


def test_deer_looks_before_words_of_doubt_ten_times_and_stops_above_its_threshold(tools: ExitTools) -> None:
    ids = ids_of(THINKING, tools)
    places = Deer().places(ids, tools)
    assert [tools.text(ids[at:])[:4] for at in places] == ["Wait", "Hmm,"]
    assert [tools.text(ids[at:])[:4] for at in Deer(words=("Hmm",)).places(ids, tools)] == ["Hmm,"]
    assert len(Deer().places(ids * 9, tools)) == 10
    sure = Reading(4, (1, 2), (-5.0, math.log(0.95)))
    assert Deer(threshold=0.94).stops([sure], tools) and not Deer(threshold=0.9500001).stops([sure], tools)


def test_dynasor_wants_equal_values_and_no_hedge(tools: ExitTools) -> None:
    policy = Dynasor(k=2)
    assert policy.stops(answered(tools, "7", "8", "8"), tools)
    assert not policy.stops(answered(tools, "8", "7"), tools)
    assert not policy.stops(answered(tools, "8", ""), tools)
    assert not policy.stops(answered(tools, "8 wait", "8 wait"), tools)
    assert not policy.stops(answered(tools, "8"), tools)


def test_dynasor_returns_the_answer_that_its_trials_gave(tools: ExitTools) -> None:
    policy, ids = Dynasor(k=2, every=3), ids_of(THINKING, tools)
    readings = [Reading(3, (*ids_of("-8", tools), tools.end())), Reading(6, (*ids_of("-8", tools), tools.end()))]
    ending = policy.ending(readings, ids[:6], tools)
    assert ending.answered and tools.text(ending.ids) == "\n</think>\n-8<eos>"
    assert not policy.ending(readings[:1], ids[:3], tools).answered


def test_a_trial_answer_ends_before_the_brace_that_closes_it(tools: ExitTools) -> None:
    opened = ids_of("boxed{", tools)
    assert tools.answer(ids_of("{8}} so", tools), opened) == "{8}"
    assert tools.answer(ids_of("8", tools), opened) == ""


def test_what_closes_the_thinking_again_is_no_answer(tools: ExitTools) -> None:
    again = (*tools.write("Yes.\n</think>\n2"), tools.end())
    assert tools.answer((*tools.write("2"), tools.end()), tools.closing()) == "2"
    assert tools.answer(again, tools.closing()) == ""
    assert not Dynasor(k=1).stops([Reading(4, again)], tools)


def test_answers_converge_when_the_last_k_have_one_value(tools: ExitTools) -> None:
    assert Converge(k=3).stops(answered(tools, "1", "8", "8", "8"), tools)
    assert not Converge(k=3).stops(answered(tools, "8", "8", "", "8"), tools)


def test_a_run_must_outgrow_the_longest_before_it(tools: ExitTools) -> None:
    policy = RunJump(factor=2, least=3)
    assert not policy.stops(answered(tools, "8", "8"), tools)
    assert policy.stops(answered(tools, "8", "8", "8"), tools)
    assert not policy.stops(answered(tools, "7", "7", "8", "8", "8"), tools)
    assert policy.stops(answered(tools, "7", "7", "8", "8", "8", "8"), tools)
    assert not policy.stops(answered(tools, "8", "8", "8", ""), tools)


def test_entropy_at_rest_stops_thinking_after_the_least_number_of_places(tools: ExitTools) -> None:
    policy = Eat(delta=1e-3, least=3)
    stops = [policy.stops(peeked(*[1.0] * n), tools) for n in range(1, 7)]
    assert stops == [False, False, False, False, True, True]
    assert not policy.stops(peeked(3, 1, 3, 1, 3, 1), tools)
    assert not Eat(delta=1e-3, least=3, below=0.5).stops(peeked(*[1.0] * 6), tools)
    assert Eat(delta=1e-3, least=3, below=0.5).stops(peeked(*[0.4] * 6), tools)


def test_the_plain_variance_of_a_window_is_the_other_rule(tools: ExitTools) -> None:
    policy = Eat(delta=1e-6, window=2)
    assert policy.stops(peeked(5, 3, 1, 1), tools) and not policy.stops(peeked(5, 1, 1, 3), tools)


def test_think_brake_stops_where_closing_is_nearly_as_likely(tools: ExitTools) -> None:
    reading = Reading(3, peeked=Peeked(1.0, 5, -0.2, (-0.45,)))
    assert ThinkBrake(tau=0.25).stops([reading], tools) and not ThinkBrake(tau=0.24).stops([reading], tools)
    look = ThinkBrake().look(tools)
    assert look.suffix_ids == () and look.token_ids == tools.delimiters.think_end


@pytest.mark.parametrize("name", ["deer", "dynasor", "converge", "eat", "think_brake"])
def test_a_decision_is_a_function_of_the_readings_alone(name: str, tools: ExitTools) -> None:
    policy = exit_of(name)
    assert isinstance(policy, ExitPolicy)
    readings = peeked(*[1.0] * 6) if name in ("eat", "think_brake") else answered(tools, "8", "8", "8", "8")
    first = [policy.stops(readings[:n], tools) for n in range(1, len(readings) + 1)]
    assert first == [policy.stops(readings[:n], tools) for n in range(1, len(readings) + 1)]
    assert exit_at(policy, readings, 99, tools) == (readings[first.index(True)].at if True in first else None)


def test_a_limit_stops_whatever_was_read(tools: ExitTools) -> None:
    policy = Deer(limit=5)
    unsure = [Reading(3, (1, 2), (-1.0, -3.0)), Reading(7, (1, 2), (-1.0, 0.0))]
    assert exit_at(policy, unsure, 9, tools) == 5 and exit_at(policy, unsure[:1], 4, tools) is None
    assert looked_at(Dynasor(every=2, limit=5), range(20), tools, 100) == [2, 4]


def test_no_place_is_looked_at_whose_look_does_not_fit_under_the_cap(tools: ExitTools) -> None:
    look = Dynasor(every=2).look(tools)
    assert max(looked_at(Dynasor(every=2), range(90), tools, 60)) == 60 - len(look.suffix_ids) - look.tokens - 1
    assert look.tokens == 20 and len(look.suffix_ids) == 3


def test_the_closing_ends_a_line_once_and_holds_the_delimiter_once(tools: ExitTools) -> None:
    assert tools.text(tools.closing()) == "\n</think>\n" and tools.text(tools.closing(at_line_end=True)) == "</think>\n"
    with pytest.raises(ValueError, match="must hold '</think>' once"):
        tools.closing("So 8.")
    with pytest.raises(ValueError, match="cannot write"):
        tools.closing("Überdies</think>")


def test_a_delimiter_with_line_breaks_of_its_own_gets_no_others(tokenizer: PreTrainedTokenizerBase) -> None:
    tools = ExitTools(Delimiters.of(tokenizer, [1], "\n</think>\n"), tokenizer)
    assert tools.closing() == tools.closing(at_line_end=True) == tools.delimiters.think_end


def test_a_prompt_that_does_not_open_the_thinking_has_it_opened(tools: ExitTools) -> None:
    assert tools.text(tools.opening(ids_of("7 + 1", tools))) == "<think>\n"
    assert tools.opening(ids_of("7 + 1<think>\n", tools)) == ()


def test_a_model_that_does_not_think_has_no_exit(tokenizer: PreTrainedTokenizerBase) -> None:
    with pytest.raises(ValueError, match="needs the delimiter that closes it"):
        ExitTools(Delimiters((), frozenset([1])), tokenizer)
