from dataclasses import replace

import torch

from concise_rl.labels.crop import crop, without
from concise_rl.labels.labeller import Labels
from concise_rl.reading.trace import Delimiters, StopReason, read_trace
from concise_rl.rollout.collect import Judged
from concise_rl.rollout.plans.plan import Rollout
from concise_rl.train.gather import to_batch, to_columns

CLOSE, EOS = 7, 0
DELIMITERS = Delimiters((CLOSE,), frozenset({EOS}))
THINKING = [1, 2, 3, 4, CLOSE, 9, EOS]
STATED = Labels(((0, 2), (2, 4)), first=0, think_length=4)
"""The answer is stated in the first two tokens."""


def judged(ids: list[int], verdict: float | None = 1.0) -> Judged:
    rollout = Rollout(ids, StopReason.EOS, len(ids), logprobs=[-0.5] * len(ids))
    return Judged([{}], [[5]], [rollout], [read_trace(ids, DELIMITERS)], [verdict])


def test_columns_carry_a_batch_there_and_back() -> None:
    rollouts = judged(THINKING) + judged([1, 2], 0.0)
    nothing = Labels(((0, 2),), first=None, think_length=2)
    columns_BC = to_columns(rollouts, [STATED, nothing], [False, False], "cpu")
    batch, filler_B = to_batch(columns_BC, 2, 16, 3, labelled=True)
    assert batch.correct.tolist() == [1, 0] and batch.finished.tolist() == [True, False]
    assert batch.closed.tolist() == [True, False]
    assert batch.length.tolist() == [7, 2] and batch.think_length.tolist() == [4, 2]
    assert batch.redundant.tolist() == [[2, 4], [2, 2]] and batch.necessary.tolist() == [0.5, 0]
    assert (batch.num_generations, batch.max_length, batch.step) == (2, 16, 3)
    assert not filler_B.any()


def test_thinking_that_is_closed_twice_has_no_answer_part() -> None:
    batch, _ = to_batch(
        to_columns(judged([1, CLOSE, 2, CLOSE, 9, EOS]), None, [False], "cpu"), 1, 16, 0, labelled=False
    )
    assert batch.closed.tolist() == [False]


def test_a_filler_is_told_apart() -> None:
    _, filler_B = to_batch(to_columns(judged(THINKING), None, [True], "cpu"), 1, 16, 0, labelled=False)
    assert filler_B.tolist() == [True]


def test_some_groups_of_a_batch_are_a_batch() -> None:
    rollouts = judged(THINKING) + judged([1, 2], 0.0)
    batch, _ = to_batch(to_columns(rollouts, [STATED, STATED], [False] * 2, "cpu"), 1, 16, 0, labelled=True)
    part = batch.rows(torch.tensor([False, True]))
    assert part.length.tolist() == [2] and part.redundant.tolist() == [[2, 4]] and part.max_length == 16


def test_a_batch_without_labels_says_so() -> None:
    batch, _ = to_batch(to_columns(judged(THINKING), None, [False], "cpu"), 1, 16, 0, labelled=False)
    assert batch.redundant is None and batch.necessary is None


def test_a_rank_without_rollouts_has_no_rows() -> None:
    assert to_columns(judged(THINKING).take([]), [], [], "cpu").shape == (0, 10)


def test_what_is_taken_out_leaves_the_answer_and_no_log_probability_behind_it() -> None:
    (cropped,) = crop(judged(THINKING), [STATED], DELIMITERS).rollouts
    assert cropped.ids == [1, 2, CLOSE, 9, EOS]
    assert cropped.logprobs == [-0.5, -0.5, None, None, None]


def test_a_cropped_rollout_is_read_anew_and_keeps_its_verdict() -> None:
    cropped = crop(judged(THINKING), [STATED], DELIMITERS)
    assert (cropped.traces[0].length, cropped.traces[0].think_length, cropped.traces[0].answer_ids) == (5, 2, (9,))
    assert cropped.verdicts == [1.0]


def test_a_rollout_without_redundant_tokens_stays_as_it_is() -> None:
    (rollout,) = judged(THINKING).rollouts
    assert without(rollout, (4, 4)) == rollout


def test_forced_tokens_stay_untrained_when_others_are_taken_out() -> None:
    rollout = replace(judged(THINKING).rollouts[0], trained=[True, True, True, True, False, True, True])
    assert without(rollout, (2, 4)).trained == [True, True, False, True, True]


def test_gathered_columns_are_those_of_all_ranks() -> None:
    parts = [to_columns(judged(THINKING), None, [False], "cpu"), to_columns(judged([1, 2]), None, [False], "cpu")]
    batch, _ = to_batch(torch.cat(parts), 2, 16, 0, labelled=False)
    assert batch.length.tolist() == [7, 2]
