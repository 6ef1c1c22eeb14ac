"""Policies drive the embedded reasoner for real."""

from dataclasses import replace

import pytest

from concise_rl.reading.trace import Delimiters, StopReason, read_trace
from concise_rl.rollout.cost import Cost, cost_of_look
from concise_rl.rollout.engine import Asked, Completion, Peek, Request, Sampling
from concise_rl.rollout.engines.transformers import TransformersEngine, load_engine
from concise_rl.rollout.exits import (
    ExitPolicy,
    ExitTools,
    Reading,
    ending_of,
    exit_at,
    exit_of,
    looked_at,
    plan_exit,
)
from concise_rl.rollout.plans.plan import Rollout
from concise_rl.tasks.tiny import load_problems

CAP = 200
GREEDY = Sampling(temperature=0.0)
REPLAYED = [
    *("no-think", "budget:30", "budget:4", "deer:0.5", "deer:mean=min,limit=60", "converge:k=2,every=9", "converge"),
    *(
        "dynasor:k=2,every=11,probe_temperature=0",
        "run_jump:factor=1,least=2",
        "eat:delta=0.3,least=2",
        "think_brake:2.5",
    ),
]


@pytest.fixture(scope="module")
def engine() -> TransformersEngine:
    return load_engine("tiny:base")


@pytest.fixture(scope="module")
def tools(engine: TransformersEngine) -> ExitTools:
    return ExitTools(Delimiters.of(engine.tokenizer, engine.eos_token_ids, "</think>"), engine.tokenizer)


@pytest.fixture(scope="module")
def requests(engine: TransformersEngine) -> list[Request]:
    chats = [[{"role": "user", "content": row["prompt"]}] for row in load_problems("test", 4)]
    prompts = [engine.tokenizer.apply_chat_template(chat, add_generation_prompt=True)["input_ids"] for chat in chats]
    return [Request(prompt, CAP, seed) for seed, prompt in enumerate(prompts)]


@pytest.fixture(scope="module")
def full(engine: TransformersEngine, requests: list[Request]) -> list[list[int]]:
    return [completion.ids for completion in engine.generate(Asked(requests, GREEDY))]


def live(name: str, engine: TransformersEngine, tools: ExitTools, requests: list[Request]) -> list[Rollout]:
    return plan_exit(exit_of(name), tools).rollouts(engine, Asked(requests, GREEDY))


def read(engine: TransformersEngine, policy: ExitPolicy, request: Request, ids: list[int], tools: ExitTools) -> Reading:
    """Look behind thinking that is known, one place at a time."""
    look = policy.look(tools)
    if look is None:
        return Reading(len(ids))
    prompt = [*request.prompt_ids, *ids, *look.suffix(ids, tools)]
    if not look.tokens:
        return Reading(len(ids), peeked=engine.peek([Peek(prompt, look.token_ids)])[0])
    sampling = replace(GREEDY, stop_ids=look.stop_ids, logprobs=look.logprobs)
    (found,) = engine.generate(Asked([Request(prompt, look.tokens)], sampling))
    return Reading(len(ids), tuple(found.ids), tuple(x for x in found.logprobs or () if x is not None))


def replay(
    engine: TransformersEngine, policy: ExitPolicy, request: Request, ids: list[int], tools: ExitTools
) -> tuple[list[int], Cost]:
    """What a policy makes of a full sample: its tokens, and what its looks cost."""
    thinking = ids[: read_trace(ids, tools.delimiters).think_length]
    places = looked_at(policy, thinking, tools, CAP)
    readings = [read(engine, policy, request, thinking[:at], tools) for at in places]
    kept = exit_at(policy, readings, len(thinking), tools)
    seen = [one for one in readings if kept is None or one.at <= kept]
    look, cost = policy.look(tools), Cost()
    for one in seen if look else []:
        suffix = look.suffix(thinking[: one.at], tools) if look else ()
        cost += cost_of_look(len(request.prompt_ids) + one.at, len(suffix), len(one.ids))
    if kept is None:
        return ids, cost
    ending = ending_of(policy, seen, thinking[:kept], request.prompt_ids, tools)
    closed = [*thinking[:kept], *ending.ids]
    if ending.answered:
        return closed, cost
    (answer,) = engine.generate(Asked([Request([*request.prompt_ids, *closed], CAP - len(closed))], GREEDY))
    return [*closed, *answer.ids], cost


@pytest.mark.parametrize("name", REPLAYED)
def test_a_live_run_is_the_replay_of_a_full_sample(
    name: str, engine: TransformersEngine, tools: ExitTools, requests: list[Request], full: list[list[int]]
) -> None:
    policy = exit_of(name)
    assert isinstance(policy, ExitPolicy)
    rollouts = live(name, engine, tools, requests)
    for request, ids, rollout in zip(requests, full, rollouts, strict=True):
        replayed, cost = replay(engine, policy, request, ids, tools)
        assert rollout.ids == replayed
        assert (rollout.cost or Cost()).model_copy(update={"dropped": 0}) == cost
    assert any(rollout.ids != ids for rollout, ids in zip(rollouts, full, strict=True))


def test_stopped_samples_say_so_and_count_what_was_sampled(
    engine: TransformersEngine, tools: ExitTools, requests: list[Request]
) -> None:
    for rollout in live("budget:20", engine, tools, requests):
        trace = read_trace(rollout.ids, tools.delimiters)
        assert trace.finished and trace.think_length in (20, 21) and trace.answer_ids
        forced = tools.closing(at_line_end=tools.ends_line(rollout.ids[:20]))
        assert rollout.stop_reason is StopReason.FORCED_EXIT and rollout.cost is None
        assert rollout.sampled == len(rollout.ids) - len(forced)


def test_tokens_drawn_behind_a_stop_are_thrown_away_and_counted(
    engine: TransformersEngine, tools: ExitTools, requests: list[Request]
) -> None:
    class Late(type(exit_of("deer:0"))):
        """It pauses at no word, so that a stop lies inside a piece."""

        def stop_ids(self, tools: ExitTools) -> tuple[int, ...]:
            return ()

    rollouts = plan_exit(Late(threshold=0.0), tools).rollouts(engine, Asked(requests, GREEDY))
    paused = live("deer:0", engine, tools, requests)
    assert [rollout.ids for rollout in rollouts] == [rollout.ids for rollout in paused]
    assert all(rollout.cost and rollout.cost.dropped > 1 for rollout in rollouts)
    assert all(rollout.cost and rollout.cost.dropped <= 1 for rollout in paused)


def test_the_end_of_the_thinking_is_dropped_as_often_as_asked(
    engine: TransformersEngine, tools: ExitTools, requests: list[Request], full: list[list[int]]
) -> None:
    rollouts = live("extend:2", engine, tools, [replace(request, max_tokens=400) for request in requests])
    for rollout, ids in zip(rollouts, full, strict=True):
        thinking = read_trace(ids, tools.delimiters).think_length
        assert rollout.ids[: thinking + 1] == [*ids[:thinking], *tools.write("Wait")]
        assert rollout.cost == Cost(dropped=2) and len(rollout.ids) - rollout.sampled == 2
        assert read_trace(rollout.ids, tools.delimiters).answer_ids


def test_no_sample_is_longer_than_its_cap(
    engine: TransformersEngine, tools: ExitTools, requests: list[Request]
) -> None:
    for name in (
        "no-think",
        "deer:0",
        "dynasor:k=1,every=2",
        "extend:6",
        "converge:k=1,every=1",
        "eat:delta=9,least=0",
    ):
        for cap in (8, 23):
            few = [replace(request, max_tokens=cap) for request in requests[:2]]
            assert all(1 <= len(rollout.ids) <= cap for rollout in live(name, engine, tools, few))


def test_a_cap_without_room_for_what_is_forced_is_refused(
    engine: TransformersEngine, tools: ExitTools, requests: list[Request]
) -> None:
    with pytest.raises(ValueError, match="raise the cap on completion tokens from 200 to 206 or more"):
        live("budget:200", engine, tools, requests)


def test_what_is_sampled_depends_on_its_own_seed(
    engine: TransformersEngine, tools: ExitTools, requests: list[Request]
) -> None:
    plan, sampling = plan_exit(exit_of("converge:k=2,every=9"), tools), Sampling(temperature=1.0)
    together = plan.rollouts(engine, Asked(requests[:3], sampling))
    alone = [plan.rollouts(engine, Asked([request], sampling))[0] for request in requests[:3]]
    assert [rollout.ids for rollout in together] == [rollout.ids for rollout in alone]


class Blind:
    """An engine that cannot look at a next token."""

    def generate(self, asked: Asked) -> list[Completion]:
        return []


def test_an_engine_that_cannot_look_at_the_next_token_is_refused(tools: ExitTools, requests: list[Request]) -> None:
    with pytest.raises(ValueError, match="Blind cannot look at the next token"):
        plan_exit(exit_of("eat"), tools).rollouts(Blind(), Asked(requests, GREEDY))


class SharedByRanks(Blind):
    def is_wanted(self, wanted: bool) -> bool:
        return wanted


def test_an_engine_that_ranks_share_is_refused(tools: ExitTools, requests: list[Request]) -> None:
    with pytest.raises(ValueError, match="Exits are for evaluations"):
        plan_exit(exit_of("budget"), tools).rollouts(
            SharedByRanks(), Asked([replace(requests[0], max_tokens=900)], GREEDY)
        )
