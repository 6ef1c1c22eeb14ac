from dataclasses import replace

from concise_rl.labels.crop import crop, without
from concise_rl.methods import Judged, Rollout, StopReason
from concise_rl.reading.trace import Delimiters, read_trace

CLOSE, EOS = 7, 0
DELIMITERS = Delimiters((CLOSE,), frozenset({EOS}))
THINKING = [1, 2, 3, 4, CLOSE, 9, EOS]


def labelled() -> Judged:
    """A rollout whose answer is stated in the first two tokens."""
    rollout = Rollout(THINKING, StopReason.EOS, len(THINKING), logprobs=[-0.5] * len(THINKING))
    return Judged([{}], [[5]], [rollout], [read_trace(THINKING, DELIMITERS)], [1.0], {"redundant": [(2, 4)]})


def test_what_is_taken_out_leaves_the_answer_and_no_log_probability_behind_it() -> None:
    (cropped,) = crop(labelled(), DELIMITERS).rollouts
    assert cropped.ids == [1, 2, CLOSE, 9, EOS]
    assert cropped.logprobs == [-0.5, -0.5, None, None, None]


def test_a_cropped_rollout_is_read_anew_and_keeps_its_verdict() -> None:
    cropped = crop(labelled(), DELIMITERS)
    assert (cropped.traces[0].length, cropped.traces[0].think_length, cropped.traces[0].answer_ids) == (5, 2, (9,))
    assert cropped.verdicts == [1.0]


def test_a_rollout_without_redundant_tokens_stays_as_it_is() -> None:
    (rollout,) = labelled().rollouts
    assert without(rollout, (4, 4)) == rollout


def test_forced_tokens_stay_untrained_when_others_are_taken_out() -> None:
    rollout = replace(labelled().rollouts[0], trained=[True, True, True, True, False, True, True])
    assert without(rollout, (2, 4)).trained == [True, True, False, True, True]
