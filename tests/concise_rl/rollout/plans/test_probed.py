"""Probes: where thinking is cut, what is forced there, and what a rollout says of it."""

import math
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from concise_rl.reading.trace import Delimiters, StopReason
from concise_rl.rollout.collect import Collector
from concise_rl.rollout.engine import Asked, Completion, Request, Sampling, stop_reason
from concise_rl.rollout.engines.transformers import load_engine
from concise_rl.rollout.plans.plan import Probe, Rollout
from concise_rl.rollout.plans.probed import BeforeWords, Probed, spread
from concise_rl.tasks.tiny import load_problems
from concise_rl.verify.pool import VerifierPool

EOS, END, EXIT = 1, 7, 5
ONE = Delimiters((END,), frozenset([EOS]))
PATH = [20, 21, 22, 23, END, 30, EOS]


def every_second(ids: Sequence[int]) -> list[int]:
    """A cut behind every second token."""
    return list(range(2, len(ids), 2))


PLAN = Probed(ONE, (EXIT, END), 3, every_second)


class ScriptedEngine:
    """An `Engine` whose paths are given by the first token of their prompt; an answer tells how long its prompt is."""

    def __init__(self, *paths: list[int]) -> None:
        self.paths = dict(enumerate(paths))
        self.calls: list[list[Request]] = []

    def generate(self, asked: Asked) -> list[Completion]:
        """See `Engine.generate`. The log-probability of a token is minus its id."""
        self.calls.append(list(asked.requests))
        return [self._complete(request, asked.sampling) for request in asked.requests]

    def _complete(self, request: Request, sampling: Sampling) -> Completion:
        first, *rest = request.prompt_ids
        ids = ([100 + len(rest), EOS] if rest else self.paths[first])[: request.max_tokens]
        logprobs: list[float | None] | None = [-float(token) for token in ids] if sampling.logprobs else None
        return Completion(ids, stop_reason(ids, [EOS], ()), logprobs)


def rollout_of(path: list[int], plan: Probed = PLAN, cap: int = 50, logprobs: bool = False) -> Rollout:
    [rollout] = plan.rollouts(ScriptedEngine(path), Asked([Request([0], cap, 0)], Sampling(logprobs=logprobs)))
    return rollout


# Where thinking is cut


def cut_text(text: str, skip: int = 0, apart: int = 0) -> list[str]:
    """The pieces of a text whose tokens are its characters."""
    places = BeforeWords(chr, skip=skip, apart=apart)([ord(character) for character in text])
    return [text[start:end] for start, end in zip([0, *places], [*places, len(text)], strict=True)]


def test_thinking_is_cut_before_the_sentence_of_a_word() -> None:
    assert cut_text("2 + 2 = 4. Oh wait, no.\nWait, again.") == ["2 + 2 = 4.", " Oh wait, no.\n", "Wait, again."]


def test_a_word_without_a_sentence_before_it_is_cut_at_itself() -> None:
    assert cut_text("2, but 3") == ["2, ", "but 3"]


def test_words_inside_other_words_cut_nothing() -> None:
    assert cut_text("A. The Sofa waits. A button.") == ["A. The Sofa waits. A button."]


def test_nothing_is_cut_at_the_very_beginning() -> None:
    assert cut_text("Wait, what?") == ["Wait, what?"]


@pytest.mark.parametrize(("skip", "pieces"), [(2, 3), (3, 2), (9, 1)])
def test_nothing_is_cut_before_a_word_among_the_first_characters(skip: int, pieces: int) -> None:
    assert len(cut_text("a.But b.But c", skip=skip)) == pieces


@pytest.mark.parametrize(("apart", "pieces"), [(4, 3), (5, 2)])
def test_a_word_too_near_to_the_last_cut_makes_none(apart: int, pieces: int) -> None:
    assert len(cut_text("a.But.But", apart=apart)) == pieces


def test_a_cut_inside_a_token_lies_before_it() -> None:
    texts = {0: "one", 1: ". But", 2: " two"}
    assert BeforeWords(texts.__getitem__)([0, 1, 2]) == [1]


@given(st.lists(st.integers(0, 10**4), max_size=40, unique=True).map(sorted), st.integers(1, 12))
def test_places_are_spread_from_the_first_to_the_last(places: list[int], most: int) -> None:
    chosen = spread(places, most)
    assert len(chosen) == min(len(places), most) and chosen == sorted(set(chosen)) and set(chosen) <= set(places)
    if len(chosen) > 1:
        assert (chosen[0], chosen[-1]) == (places[0], places[-1])


# What is forced there


def test_answers_are_forced_at_the_cuts_and_at_the_end_of_the_thinking() -> None:
    probes = rollout_of(PATH).probes
    assert [(probe.at, probe.ids) for probe in probes] == [(2, [EXIT, END, 104, EOS]), (4, [EXIT, END, 106, EOS])]


def test_a_rollout_is_its_path_as_it_was_sampled() -> None:
    rollout = rollout_of(PATH, logprobs=True)
    assert (rollout.ids, rollout.stop_reason, rollout.trained) == (PATH, StopReason.EOS, None)
    assert rollout.logprobs == [-float(token) for token in PATH]


def test_all_tokens_that_were_sampled_for_a_rollout_are_counted() -> None:
    assert rollout_of(PATH).sampled == len(PATH) + 2 * 2
    assert rollout_of(PATH, Probed(ONE, (EXIT, END), 3, every_second, samples=3)).sampled == len(PATH) + 3 * 2 * 2


def test_the_places_are_a_fact_of_as_many_numbers_for_every_rollout() -> None:
    plan = Probed(ONE, (EXIT, END), 3, every_second, most=3, from_start=True)
    assert rollout_of(PATH, plan).facts == {"probe_at": (0, 2, 4, -1, -1)}
    assert [fact.width for fact in plan.facts] == [5, 5]


def test_no_more_places_than_wanted_are_probed() -> None:
    plan = Probed(ONE, (EXIT, END), 3, every_second, most=2)
    assert rollout_of([*range(20, 31), END, 40, EOS], plan).facts["probe_at"] == (2, 10, 11)


def test_thinking_that_never_closes_is_probed_up_to_its_last_token() -> None:
    assert rollout_of([20, 21, 22, EOS]).facts["probe_at"][:3] == (2, 3, -1)
    assert rollout_of([20, 21, 22, 23, 24], cap=9).facts["probe_at"][:3] == (2, 4, -1)  # 4 under the cap


def test_without_thinking_there_is_one_place() -> None:
    plan = Probed(ONE, (EXIT, END), 3, every_second, from_start=True)
    assert rollout_of([END, 30, EOS], plan).facts["probe_at"][:2] == (0, -1)


def test_a_path_leaves_room_for_a_probe_at_its_end() -> None:
    engine = ScriptedEngine(PATH)
    PLAN.rollouts(engine, Asked([Request([0], 50, 0)], Sampling()))
    assert [(request.max_tokens, request.reserve) for request in engine.calls[0]] == [(45, 5)]
    assert {request.max_tokens for request in engine.calls[1]} == {3}


def test_every_answer_has_a_seed_of_its_own() -> None:
    engine = ScriptedEngine(PATH, PATH)
    plan = Probed(ONE, (EXIT, END), 3, every_second, samples=2)
    plan.rollouts(engine, Asked([Request([0], 50, 0), Request([1], 50, 1)], Sampling()))
    seeds = [request.seed for call in engine.calls for request in call]
    assert len(set(seeds)) == len(seeds) == 2 + 2 * 2 * 2


def test_the_engine_is_called_twice_whatever_is_asked() -> None:
    engine = ScriptedEngine()
    assert PLAN.rollouts(engine, Asked([], Sampling())) == [] and engine.calls == [[], []]


def test_a_cap_without_room_for_thinking_is_refused() -> None:
    with pytest.raises(ValueError, match="answer_max_tokens"):
        PLAN.check_cap(5)


def test_an_exit_text_that_does_not_close_the_thinking_is_refused() -> None:
    with pytest.raises(ValueError, match="exit text"):
        Probed(ONE, (EXIT,), 3, every_second)


# What comes of it


def test_probes_are_judged_with_their_rollout_but_are_no_rows() -> None:
    """The embedded reasoner right after its first pass, and after none."""
    engine = load_engine("tiny:base")
    tokenizer, rows = engine.tokenizer, load_problems("test", 4)
    delimiters = Delimiters.of(tokenizer, engine.eos_token_ids, "</think>")
    exit_ids = tuple(tokenizer.encode("\n</think>\n", add_special_tokens=False))
    cut = BeforeWords(lambda token: str(tokenizer.decode([token])))
    plan = Probed(delimiters, exit_ids, 8, cut, samples=2, most=2, from_start=True)
    prompts = [tokenizer.encode(f"<user>{row['prompt']}<assistant>", add_special_tokens=False) for row in rows]
    with VerifierPool("reasoning_gym") as pool:
        collector = Collector(engine, plan, Sampling(temperature=0.0), delimiters, tokenizer, pool)
        judged = collector.judge(rows, prompts, collector.sample(prompts, 300, range(4)))
        assert pool.counters["judged"] == 4 + sum(len(rollout.probes) for rollout in judged.rollouts)
    assert len(judged.rows) == len(judged.verdicts) == 4
    for places, shares in zip(judged.facts["probe_at"], judged.facts["probe_correct"], strict=True):
        assert len(places) == len(shares) == plan.width
        assert [math.isnan(share) for share in shares] == [place < 0 for place in places]
        assert places[0] == 0 and shares[0] == 0.0
    assert sum(shares[1] for shares in judged.facts["probe_correct"]) >= 2


def test_an_answer_that_does_not_end_counts_as_wrong() -> None:
    engine = load_engine("tiny:base")
    delimiters = Delimiters.of(engine.tokenizer, engine.eos_token_ids, "</think>")
    exit_ids = tuple(engine.tokenizer.encode("\n</think>\n", add_special_tokens=False))
    rows = [{"prompt": "2", "answer": "2"}]
    two = engine.tokenizer.encode("2", add_special_tokens=False)
    rollout = Rollout(
        [*two, *exit_ids, *two],
        StopReason.LENGTH,
        3,
        facts={"probe_at": (0, 1, -1)},
        probes=(Probe(0, [*exit_ids, *two]), Probe(1, [*exit_ids, *two, engine.eos_token_ids[0]])),
    )
    plan = Probed(delimiters, exit_ids, 1, every_second, most=1, from_start=True)
    with VerifierPool("math") as pool:
        judged = Collector(engine, plan, Sampling(), delimiters, engine.tokenizer, pool).judge(rows, [[]], [rollout])
    assert judged.verdicts == [1.0]  # raw, as ever
    assert judged.facts["probe_correct"][0][:2] == (0.0, 1.0)
