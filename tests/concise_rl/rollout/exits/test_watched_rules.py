"""Rules that read every token as it is drawn: NoWait, RPDI-EE and DeepConf, by hand and on the embedded reasoner."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from concise_rl.reading.trace import Delimiters, StopReason, read_trace
from concise_rl.rollout.engine import Asked, Completion, Request, Sampling, Watched
from concise_rl.rollout.engines.transformers import TransformersEngine, load_engine
from concise_rl.rollout.exits import ExitTools, exit_of, plan_exit
from concise_rl.rollout.exits.deepconf import falls_below, groups_of, lowest_confidence
from concise_rl.rollout.exits.nowait import NoWait, banned_ids
from concise_rl.rollout.exits.rpdi import deviates_at
from concise_rl.rollout.exits.watching import draw_watched, window_means
from concise_rl.rollout.plans.plan import Rollout

PROMPT = "State the final answer to the following arithmetic problem: 4 + 3 - 9 ="


@pytest.fixture(scope="module")
def engine() -> TransformersEngine:
    return load_engine("tiny:base")


@pytest.fixture(scope="module")
def tools(engine: TransformersEngine) -> ExitTools:
    return ExitTools(Delimiters.of(engine.tokenizer, engine.eos_token_ids, "</think>"), engine.tokenizer)


def asked(engine: TransformersEngine, count: int = 1, max_tokens: int = 300, temperature: float = 1.0) -> Asked:
    """Requests for one problem."""
    text = engine.tokenizer.apply_chat_template(
        [{"role": "user", "content": PROMPT}], add_generation_prompt=True, tokenize=False
    )
    ids = engine.tokenizer.encode(str(text), add_special_tokens=False)
    return Asked([Request(ids, max_tokens, seed) for seed in range(count)], Sampling(temperature=temperature))


def run(engine: TransformersEngine, tools: ExitTools, text: str, wanted: Asked) -> list[Rollout]:
    """Rollouts under an exit."""
    return plan_exit(exit_of(text), tools).rollouts(engine, wanted)


def sure(*confidences: float) -> list[Watched]:
    """Tokens of which only the confidence matters."""
    return [Watched(0.0, one) for one in confidences]


def test_window_means_are_those_of_full_windows() -> None:
    assert window_means([1, 2, 3, 4], 2) == [1.5, 2.5, 3.5]
    assert window_means([1, 2], 3) == []
    assert window_means([1, 2], 1) == [1, 2]


def test_thinking_deviates_where_the_window_exceeds_its_share_of_the_mean_so_far() -> None:
    calm, wild = [1.0] * 8, [4.0] * 4
    assert deviates_at(calm, 2, 1.5) is None
    # behind two wild tokens: a window of 4, over (8 + 8) / 10; behind one: 2.5 over 12 / 9
    assert deviates_at([*calm, *wild], 2, 1.5) == 9
    assert deviates_at([*calm, *wild], 2, 2.0) == 10
    assert deviates_at([*calm, *wild], 2, 3.0) is None
    assert deviates_at(wild, 8, 0.5) is None  # no full window yet


def test_confidence_falls_below_the_bar_in_full_windows_alone() -> None:
    watched = sure(5, 5, 1, 1, 5)
    assert lowest_confidence(watched, 2) == 1
    assert lowest_confidence(watched, 100) == pytest.approx(17 / 5)
    assert falls_below(watched, 2, 2.0) == 4
    assert falls_below(watched, 2, 1.0) is None
    assert falls_below(watched, 6, 100.0) is None


def test_requests_of_one_prompt_that_stand_together_are_a_group() -> None:
    requests = [Request(prompt, 5) for prompt in ([1], [1], [2], [2], [2])]
    assert groups_of(requests) == [[0, 1], [2, 3, 4]]


def test_nowait_bans_words_and_nothing_that_holds_them(tools: ExitTools) -> None:
    texts = [tools.text_of(token) for token in banned_ids(tools)]
    assert {"Wait", " Wait", "wait", "Hmm", "But", "again", " again", "check", "Alternatively"} <= set(texts)
    assert not {"Let", "answer", "</think>", "the"} & set(texts)
    with pytest.raises(ValueError, match="no token that is one of perhaps"):
        banned_ids(tools, ("perhaps",))
    assert str(banned_ids(tools)[0]) in NoWait().note(tools)


def test_nowait_never_bans_the_delimiter(tools: ExitTools) -> None:
    assert not {*tools.delimiters.think_end, *tools.delimiters.eos} & set(banned_ids(tools, ("wait", "</think>")))


def test_under_nowait_no_banned_word_is_drawn(engine: TransformersEngine, tools: ExitTools) -> None:
    wanted = asked(engine, 8)
    plain, without = engine.generate(wanted), run(engine, tools, "nowait", wanted)
    banned = set(banned_ids(tools))
    assert any(banned & set(one.ids) for one in plain)
    assert not any(banned & set(one.ids) for one in without)


def test_rpdi_closes_the_thinking_where_it_deviates_and_answers(engine: TransformersEngine, tools: ExitTools) -> None:
    wanted = asked(engine, 8, temperature=1.0)
    for one in run(engine, tools, "rpdi:threshold=1.2,window=8", wanted):
        trace = read_trace(one.ids, tools.delimiters)
        if one.stop_reason is StopReason.FORCED_EXIT:
            assert trace.answer_ids is not None
            assert one.sampled < len(one.ids)
        assert len(one.ids) <= 300
    ended: list[int] = []
    found = run(engine, tools, "rpdi:1.2", replace(wanted, progress=ended.append))
    assert any(one.stop_reason is StopReason.FORCED_EXIT for one in found)
    assert sum(ended) == 8  # each is told of once


def test_rpdi_that_never_stops_draws_what_the_model_does(engine: TransformersEngine, tools: ExitTools) -> None:
    wanted = asked(engine, 2, temperature=0)
    plain, watched = engine.generate(wanted), run(engine, tools, "rpdi:threshold=1000", wanted)
    assert [one.ids for one in watched] == [one.ids for one in plain]
    assert all(one.cost is None and one.sampled == len(one.ids) for one in watched)


def test_rpdi_needs_room_for_what_it_forces(engine: TransformersEngine, tools: ExitTools) -> None:
    with pytest.raises(ValueError, match="raise the cap on completion tokens from 2"):
        run(engine, tools, "rpdi", asked(engine, max_tokens=2))


def test_deepconf_draws_the_first_samples_whole_and_gives_up_unsure_ones(
    engine: TransformersEngine, tools: ExitTools
) -> None:
    wanted = asked(engine, 12)
    found = run(engine, tools, "deepconf:warmup=4,window=8,top=5,percent=50,pace=16", wanted)
    given_up = [one.stop_reason is StopReason.ABORTED for one in found]
    assert not any(given_up[:4])
    assert any(given_up[4:])
    assert all(len(one.ids) >= 8 for one in found)


def test_deepconf_with_the_lowest_bar_gives_up_what_is_less_sure_than_all_first_samples(
    engine: TransformersEngine, tools: ExitTools
) -> None:
    """The bar by hand, from the confidences of the same draws."""
    wanted = asked(engine, 6)
    sampling = replace(wanted.sampling, watch=5)
    first = engine.generate(replace(wanted, requests=wanted.requests[:3], sampling=sampling))
    bar = min(lowest_confidence(one.watched or [], 8) for one in first)
    found = run(engine, tools, "deepconf:warmup=3,window=8,top=5,percent=0,pace=400", wanted)
    later = engine.generate(replace(wanted, requests=wanted.requests[3:], sampling=sampling))
    falls = [falls_below(one.watched or [], 8, bar) for one in later]
    assert [one.stop_reason is StopReason.ABORTED for one in found[3:]] == [at is not None for at in falls]
    assert [len(one.ids) for one in found[3:]] == [at or len(one.ids) for at, one in zip(falls, later, strict=True)]


def test_deepconf_needs_more_samples_than_set_its_bar(engine: TransformersEngine, tools: ExitTools) -> None:
    with pytest.raises(ValueError, match="draws 16 samples of each problem to set its bar, and there are 4 of one"):
        run(engine, tools, "deepconf", asked(engine, 4))


def test_drawing_in_chunks_keeps_room_and_ends_at_the_cap() -> None:
    engine = Counting()
    (drawn,) = draw_watched(engine, Asked([Request([1], 10, 0)], Sampling()), 1, 4, lambda number, one: None)
    assert (len(drawn.ids), drawn.kept, drawn.stop_reason) == (10, None, StopReason.LENGTH)
    assert [(request.max_tokens, request.reserve) for request in engine.seen] == [(4, 6), (4, 2), (2, 0)]
    assert len({request.seed for request in engine.seen}) == 3


class Counting:
    """Draws as many tokens as it may, and keeps what it was asked."""

    def __init__(self) -> None:
        self.seen: list[Request] = []

    def generate(self, asked: Asked) -> list[Completion]:
        """See `Engine.generate`."""
        self.seen += asked.requests
        return [self._draw(request.max_tokens) for request in asked.requests]

    def _draw(self, count: int) -> Completion:
        watched: Sequence[Watched] = sure(*[1.0] * count)
        return Completion([7] * count, StopReason.LENGTH, watched=list(watched))
