import torch
from torch import Tensor

from concise_rl.methods import Fact, Judged, Label, Rollout, RolloutBatch, StopReason
from concise_rl.reading.trace import Delimiters, read_trace
from concise_rl.train.gather import Moment, World, gather_facts, to_batch

CLOSE, EOS = 7, 0
DELIMITERS = Delimiters((CLOSE,), frozenset({EOS}))
THINKING = [1, 2, 3, 4, CLOSE, 9, EOS]
ALONE = World(0, lambda values: values, "cpu")
PROBLEM = Fact("problem", dtype=torch.int64)


def judged(ids: list[int], verdict: float | None = 1.0, redundant: tuple[int, int] = (2, 4)) -> Judged:
    rollout = Rollout(ids, StopReason.EOS, len(ids))
    labels = {"redundant": [redundant], "necessary": [0.5], "reflections": [3], "problem": [2**62 + 1]}
    return Judged([{}], [[5]], [rollout], [read_trace(ids, DELIMITERS)], [verdict], labels)


def batch_of(rollouts: Judged, facts: tuple[Fact, ...] = (), filler: list[bool] | None = None) -> RolloutBatch:
    now = Moment(3, True, 0, len(rollouts.rows), 16, {"known": 1})
    return to_batch(rollouts, filler or [False] * len(rollouts.rows), facts, now, ALONE)[0]


def test_a_batch_holds_what_is_known_of_every_rollout() -> None:
    batch = batch_of(judged(THINKING) + judged([1, 2], None))
    assert batch.correct[0] == 1 and batch.correct[1].isnan()
    assert batch.finished.tolist() == [True, False] and batch.closed.tolist() == [True, False]
    assert batch.length.tolist() == [7, 2] and batch.think_length.tolist() == [4, 2]
    assert (batch.num_generations, batch.max_length, batch.step, batch.memory) == (2, 16, 3, {"known": 1})


def test_thinking_that_is_closed_twice_has_no_answer_part() -> None:
    assert batch_of(judged([1, CLOSE, 2, CLOSE, 9, EOS])).closed.tolist() == [False]


def test_a_filler_is_told_apart() -> None:
    now = Moment(0, True, 0, 1, 16, {})
    assert to_batch(judged(THINKING), [True], (), now, ALONE)[1].tolist() == [True]


def test_facts_are_gathered_by_what_their_stage_declares() -> None:
    batch = batch_of(judged(THINKING) + judged([1, 2], redundant=(2, 2)), Label.facts)
    assert batch.redundant.tolist() == [[2, 4], [2, 2]] and batch.necessary.tolist() == [0.5, 0.5]
    assert batch.fact("reflections").tolist() == [3, 3]


def test_a_hash_of_63_bits_arrives_exactly() -> None:
    assert batch_of(judged(THINKING), (PROBLEM,)).fact("problem").tolist() == [2**62 + 1]


def test_facts_that_nobody_declares_stay_where_they_are() -> None:
    batch = batch_of(judged(THINKING))
    assert batch.redundant is None and batch.necessary is None and not batch.facts


def test_some_groups_of_a_batch_are_a_batch_with_their_facts() -> None:
    now, rollouts = Moment(0, True, 0, 1, 16, {}), judged(THINKING) + judged([1, 2])
    part = to_batch(rollouts, [False] * 2, Label.facts, now, ALONE)[0].rows(torch.tensor([False, True]))
    assert part.length.tolist() == [2] and part.redundant.tolist() == [[2, 4]] and part.max_length == 16


def test_ranks_gather_in_one_call_for_each_type_of_number() -> None:
    calls: list[torch.dtype] = []

    def gather(values: Tensor) -> Tensor:
        calls.append(values.dtype)
        return torch.cat([values, values])

    facts = (Fact("a"), Fact("b", 2), PROBLEM)
    found = gather_facts(facts, {"a": [1.0], "b": [(2.0, 3.0)], "problem": [5]}, World(0, gather, "cpu"))
    assert found["a"].tolist() == [1, 1] and found["b"].tolist() == [[2, 3]] * 2 and found["problem"].tolist() == [5, 5]
    assert calls == [torch.float32, torch.int64]


def test_a_rank_without_rollouts_gathers_no_rows() -> None:
    found = gather_facts((Fact("a"), Fact("b", 2)), {"a": [], "b": []}, ALONE)
    assert found["a"].shape == (0,) and found["b"].shape == (0, 2)


def test_a_rank_finds_its_own_share() -> None:
    assert World(1, lambda values: values, "cpu").mine(torch.arange(6), 2).tolist() == [2, 3]
