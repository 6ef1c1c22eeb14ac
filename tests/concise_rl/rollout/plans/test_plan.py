"""Rollout plans: plain sampling, and thinking on a budget."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from concise_rl.reading.trace import Delimiters, StopReason, read_trace
from concise_rl.rollout.engine import Asked, Request, Sampling
from concise_rl.rollout.engines.transformers import TransformersEngine, load_engine
from concise_rl.rollout.facts import Fact
from concise_rl.rollout.plans.budget import ThinkingBudget
from concise_rl.rollout.plans.plan import Parallel, Plan, Rollout
from concise_rl.rollout.shortest import ShortestOnly
from concise_rl.tasks.tiny import load_problems
from tests.goldens import ReplayEngine

EOS, END = 1, 7
ONE = Delimiters((END,), frozenset([EOS]))
TWO = Delimiters((6, END), frozenset([EOS]))
ENOUGH = 1000


def replayed(
    thinking: list[int], answer: list[int], plan: ThinkingBudget, sampling: Sampling | None = None, seed: int = 3
) -> tuple[Rollout, ReplayEngine]:
    """What a plan makes of a model that would sample these streams."""
    engine = ReplayEngine({0: (thinking, answer)}, EOS)
    return plan.rollouts(engine, Asked([Request([0], ENOUGH, seed)], sampling or Sampling()))[0], engine


# Plain sampling


def test_plain_sampling_hands_requests_on_and_counts_every_token_as_sampled() -> None:
    engine = ReplayEngine({0: ([], [11, 12, EOS]), 5: ([], [13, 14, 15])}, EOS)
    requests, sampling = [Request([0], 9, 1), Request([5], 2, 2)], Sampling(logprobs=True)
    first, second = Parallel().rollouts(engine, Asked(requests, sampling))
    assert engine.calls == [(requests, sampling)]
    assert first == Rollout([11, 12, EOS], StopReason.EOS, 3, [-11, -12, -1])
    assert second == Rollout([13, 14], StopReason.LENGTH, 2, [-13, -14])


def test_plain_sampling_hands_on_what_may_be_given_up_and_the_progress() -> None:
    handed = []

    class Listening(ReplayEngine):
        def generate(self, asked):
            handed.append(asked.give_up)
            return super().generate(asked)

    give_up, ended = ShortestOnly(1, lambda row: 0), []
    Parallel().rollouts(
        Listening({0: ([], [EOS])}, EOS), Asked([Request([0], 9)] * 2, Sampling(), ended.append, give_up)
    )
    assert handed == [give_up] and ended == [2]


# What a plan says of itself


@pytest.mark.parametrize("plan", [Parallel(), ThinkingBudget(8, 4, ONE)])
def test_a_plan_whose_rollouts_stand_alone_is_the_same_in_an_evaluation(plan: Plan) -> None:
    assert plan.evaluated is plan
    assert not plan.whole_groups and not plan.shared_path and plan.facts == ()


def test_a_plan_states_only_how_it_differs_from_plain_sampling() -> None:
    class InGroups(Parallel):
        whole_groups = True
        facts = (Fact("mode"),)

    plan = InGroups()
    assert plan.whole_groups and plan.facts == (Fact("mode"),)
    assert not plan.shared_path and plan.evaluated is plan


# Thinking on a budget: what comes out


def test_thinking_that_the_model_closes_is_left_as_it_is() -> None:
    rollout, engine = replayed([10, 11, END], [12, EOS], ThinkingBudget(8, 4, ONE))
    assert rollout == Rollout([10, 11, END, 12, EOS], StopReason.EOS, sampled=5)
    assert engine.calls[1][0][0].prompt_ids == [0, 10, 11, END]


def test_thinking_beyond_its_budget_is_closed_by_force_at_no_cost() -> None:
    rollout, _ = replayed([10, 11, 12, 13, END], [14, EOS], ThinkingBudget(3, 4, ONE))
    assert rollout == Rollout([10, 11, 12, END, 14, EOS], StopReason.THINK_BUDGET, sampled=5)


def test_a_delimiter_that_is_the_last_token_of_the_budget_needs_no_force() -> None:
    rollout, _ = replayed([10, 11, END], [12, EOS], ThinkingBudget(3, 4, ONE))
    assert rollout.ids == [10, 11, END, 12, EOS] and rollout.stop_reason is StopReason.EOS


def test_an_eos_inside_the_thinking_is_closed_too_and_hides_what_follows_from_the_loss() -> None:
    rollout, _ = replayed([10, EOS], [12, 13, EOS], ThinkingBudget(8, 4, ONE))
    assert rollout.ids == [10, EOS, END, 12, 13, EOS]
    assert rollout.trained == [True, True, False, False, False, False]
    assert rollout.stop_reason is StopReason.THINK_BUDGET and rollout.sampled == 5


def test_an_answer_beyond_its_budget_is_unfinished() -> None:
    rollout, _ = replayed([10, END], [12, 13, 14, EOS], ThinkingBudget(8, 2, ONE))
    assert rollout == Rollout([10, END, 12, 13], StopReason.LENGTH, sampled=4)


def test_all_tokens_are_trained_on_where_only_the_last_is_an_eos() -> None:
    for thinking in ([10, END], [10, 11, 12]):
        assert replayed(thinking, [12, EOS], ThinkingBudget(3, 4, ONE))[0].trained is None


def test_log_probabilities_stay_beside_their_tokens_and_are_none_for_forced_ones() -> None:
    rollout, _ = replayed([10, 11, 12, END], [13, EOS], ThinkingBudget(3, 4, TWO), Sampling(logprobs=True))
    assert rollout.ids == [10, 11, 12, 6, END, 13, EOS]
    assert rollout.logprobs == [-10, -11, -12, None, None, -13, -1]


def test_there_are_no_log_probabilities_unless_they_are_wanted() -> None:
    assert replayed([10, 11, 12, END], [13, EOS], ThinkingBudget(2, 4, ONE))[0].logprobs is None


# Delimiters of several tokens


def test_the_last_token_of_a_delimiter_alone_does_not_close_the_thinking() -> None:
    plan = ThinkingBudget(9, 4, TWO)
    rollout, engine = replayed([10, END, 11, END, 6, END], [12, EOS], plan, Sampling(logprobs=True))
    assert rollout.ids == [10, END, 11, END, 6, END, 12, EOS]
    assert rollout.stop_reason is StopReason.EOS and rollout.sampled == len(rollout.ids)
    assert rollout.logprobs == [-float(token) for token in rollout.ids]
    assert [request.max_tokens for calls, _ in engine.calls for request in calls] == [9, 7, 5, 4]


def test_a_delimiter_of_several_tokens_that_the_budget_cuts_is_forced_whole() -> None:
    rollout, _ = replayed([10, 11, 6, END], [12, EOS], ThinkingBudget(3, 4, TWO))
    assert rollout.ids == [10, 11, 6, 6, END, 12, EOS]
    assert read_trace(rollout.ids, TWO).answer_ids == (12,)


def test_a_budget_spent_on_the_last_token_of_a_delimiter_alone_is_spent() -> None:
    rollout, engine = replayed([10, END, 11], [12, EOS], ThinkingBudget(2, 4, TWO))
    assert rollout.ids == [10, END, 6, END, 12, EOS] and rollout.stop_reason is StopReason.THINK_BUDGET
    assert len(engine.calls) == 2


def test_rollouts_of_a_batch_stay_apart() -> None:
    scripts = {0: ([10, END, 11, 6, END], [EOS]), 2: ([6, END], [12, 13, EOS]), 3: ([14] * 9, [15, EOS])}
    requests = [Request([name], ENOUGH) for name in (3, 0, 2, 0)]
    rollouts = ThinkingBudget(5, 3, TWO).rollouts(ReplayEngine(scripts, EOS), Asked(requests, Sampling()))
    assert [r.ids for r in rollouts] == [
        [14, 14, 14, 14, 14, 6, END, 15, EOS],
        [10, END, 11, 6, END, EOS],
        [6, END, 12, 13, EOS],
        [10, END, 11, 6, END, EOS],
    ]
    assert [r.sampled for r in rollouts] == [7, 6, 5, 6]


# What is asked of the engine


def test_nothing_of_a_rollout_in_two_phases_may_be_given_up() -> None:
    handed = []

    class Listening(ReplayEngine):
        def generate(self, asked):
            handed.append(asked.give_up)
            return super().generate(asked)

    asked = Asked([Request([0], ENOUGH)] * 2, Sampling(), give_up=ShortestOnly(1, lambda row: 0))
    ThinkingBudget(8, 4, ONE).rollouts(Listening({0: ([10, END], [12, EOS])}, EOS), asked)
    assert handed == [None, None]


def test_only_thinking_stops_at_the_delimiter_and_the_sampling_is_the_same_otherwise() -> None:
    _, engine = replayed([10, END, 6, END], [12, EOS], ThinkingBudget(8, 4, TWO), Sampling(temperature=0.6))
    *thinking, answering = (sampling for _, sampling in engine.calls)
    assert thinking == [Sampling(temperature=0.6, stop_ids=(END,))] * 2
    assert answering == Sampling(temperature=0.6)


def test_every_request_of_a_rollout_has_a_seed_of_its_own() -> None:
    plan = ThinkingBudget(9, 4, TWO)
    seeds = [
        request.seed
        for seed in (3, 4)
        for requests, _ in replayed([10, END, 11, END, 6, END], [12, EOS], plan, seed=seed)[1].calls
        for request in requests
    ]
    assert len(seeds) == 8 and len(set(seeds)) == 8 and 3 in seeds


def test_without_a_seed_nothing_is_seeded() -> None:
    engine = ReplayEngine({0: ([10, END], [EOS])}, EOS)
    ThinkingBudget(9, 4, ONE).rollouts(engine, Asked([Request([0], ENOUGH)], Sampling()))
    assert [request.seed for requests, _ in engine.calls for request in requests] == [None, None]


def test_progress_counts_every_rollout_once() -> None:
    ended: list[int] = []
    engine = ReplayEngine({0: ([10, END, 11, END, 6, END], [EOS])}, EOS)
    ThinkingBudget(9, 4, TWO).rollouts(engine, Asked([Request([0], ENOUGH)] * 3, Sampling(), ended.append))
    assert ended == [3]


def test_no_rollouts_are_wanted_and_none_come() -> None:
    assert ThinkingBudget(9, 4, TWO).rollouts(ReplayEngine({}, EOS), Asked([], Sampling())) == []


@pytest.mark.parametrize(("cap", "fits"), [(12, False), (13, True)])
def test_a_cap_that_does_not_hold_both_budgets_and_the_delimiter_is_refused(cap: int, fits: bool) -> None:
    plan, engine = ThinkingBudget(8, 3, TWO), ReplayEngine({0: ([10] * 20, [11] * 20)}, EOS)
    requests = [Request([0], ENOUGH), Request([0], cap)]
    if fits:
        assert max(len(r.ids) for r in plan.rollouts(engine, Asked(requests, Sampling()))) == cap == plan.max_tokens
    else:
        with pytest.raises(ValueError, match="need a cap of 13 completion tokens with the delimiter: raise it from 12"):
            plan.rollouts(engine, Asked(requests, Sampling()))


def test_a_model_that_does_not_think_has_no_thinking_budget() -> None:
    with pytest.raises(ValueError, match="set think_end"):
        ThinkingBudget(8, 3, Delimiters((), frozenset([EOS])))


TOKENS = st.sampled_from([EOS, 6, END, 10, 11])


@given(st.lists(TOKENS, min_size=20, max_size=20), st.integers(1, 12), st.sampled_from([ONE, TWO]))
def test_thinking_is_what_the_model_sampled_up_to_its_first_end_and_is_closed(stream, budget: int, delimiters) -> None:
    """Against the streams read from front to back."""
    thinking: list[int] = []
    while len(thinking) < budget and tuple(thinking[-len(delimiters.think_end) :]) != delimiters.think_end:
        thinking.append(stream[len(thinking)])
        if thinking[-1] == EOS:
            break
    closed = tuple(thinking[-len(delimiters.think_end) :]) == delimiters.think_end
    rollout, _ = replayed(stream, [12, EOS], ThinkingBudget(budget, 4, delimiters), Sampling(logprobs=True))
    assert rollout.ids == [*thinking, *(() if closed else delimiters.think_end), 12, EOS]
    assert rollout.sampled == len(thinking) + 2
    assert (rollout.stop_reason is StopReason.THINK_BUDGET) is not closed
    assert rollout.logprobs is not None and len(rollout.logprobs) == len(rollout.ids)
    assert rollout.logprobs.count(None) == (0 if closed else len(delimiters.think_end))
    trained = rollout.trained or [True] * len(rollout.ids)
    assert sum(trained) == rollout.ids.index(EOS) + 1 and trained == sorted(trained, reverse=True)


# With the embedded reasoner


@pytest.fixture(scope="module")
def engine() -> TransformersEngine:
    return load_engine("tiny:base", batch_size=16)


@pytest.fixture(scope="module")
def delimiters(engine: TransformersEngine) -> Delimiters:
    return Delimiters.of(engine.tokenizer, engine.eos_token_ids, "</think>")


@pytest.fixture(scope="module")
def requests(engine: TransformersEngine) -> list[Request]:
    chats = [[{"role": "user", "content": row["prompt"]}] for row in load_problems("test", 8)]
    prompts = [engine.tokenizer.apply_chat_template(c, add_generation_prompt=True)["input_ids"] for c in chats]
    return [Request(prompt, 320, seed) for seed, prompt in enumerate(prompts)]


def test_the_reasoner_thinks_on_its_budget_and_answers(engine, delimiters, requests) -> None:
    rollouts = ThinkingBudget(48, 12, delimiters).rollouts(engine, Asked(requests, Sampling(logprobs=True)))
    traces = [read_trace(rollout.ids, delimiters) for rollout in rollouts]
    forced = [rollout.stop_reason is StopReason.THINK_BUDGET for rollout in rollouts]
    assert any(forced)
    for rollout, trace, was_forced in zip(rollouts, traces, forced, strict=True):
        assert trace.think_length <= 48 and len(trace.answer_ids or ()) <= 12
        assert trace.think_length == 48 or not was_forced
        assert rollout.logprobs is not None and [p is None for p in rollout.logprobs].count(True) == was_forced
        assert len(rollout.logprobs) == len(rollout.ids) == rollout.sampled + was_forced
    assert sum(trace.finished for trace in traces) >= 6


def test_a_budget_that_is_never_spent_changes_nothing_of_what_the_reasoner_says(engine, delimiters, requests) -> None:
    greedy = Sampling(temperature=0.0)
    plain = Parallel().rollouts(engine, Asked(requests, greedy))
    assert all(rollout.stop_reason is StopReason.EOS for rollout in plain)
    assert ThinkingBudget(300, 19, delimiters).rollouts(engine, Asked(requests, greedy)) == plain


def test_the_same_seeds_give_the_same_rollouts_and_others_do_not(engine, delimiters, requests) -> None:
    plan = ThinkingBudget(48, 12, delimiters)
    first, again = (plan.rollouts(engine, Asked(requests, Sampling())) for _ in range(2))
    reseeded = [replace(request, seed=100 + i) for i, request in enumerate(requests)]
    assert first == again != plan.rollouts(engine, Asked(reseeded, Sampling()))


def test_a_delimiter_of_several_tokens_is_found_in_what_the_reasoner_says(engine, requests) -> None:
    """Its newline and `</think>` as one delimiter: the newline alone ends every line."""
    newline = Delimiters.of(engine.tokenizer, engine.eos_token_ids, "</think>\n")
    assert len(newline.think_end) == 2
    greedy = Sampling(temperature=0.0)
    rollouts = ThinkingBudget(300, 18, newline).rollouts(engine, Asked(requests[:4], greedy))
    assert rollouts == Parallel().rollouts(engine, Asked(requests[:4], greedy))
