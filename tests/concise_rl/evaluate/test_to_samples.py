"""Samples of judged rollouts: what counts as right is what counts in training."""

import pytest

from concise_rl.evaluate.problems import Problem
from concise_rl.evaluate.samples import Sample
from concise_rl.evaluate.to_samples import to_samples
from concise_rl.methods import Delimiters, Judged, Rollout, StopReason
from concise_rl.reading.trace import read_trace
from tests.concise_rl.evaluate.fabric import TOKENIZER

EOS = TOKENIZER.eos_token_id
DELIMITERS = Delimiters.of(TOKENIZER, [EOS], "</think>")
PROBLEM = Problem(3, {"prompt": "What is 7?", "answer": "7", "difficulty": 2}, [1, 2], "hash", 5, {"target": 30.0})


def judged(text: str, reason: StopReason, verdict: float | None) -> Judged:
    """One rollout and its verdict."""
    ids = TOKENIZER.encode(text, add_special_tokens=False) + [EOS] * (reason is StopReason.EOS)
    rollout = Rollout(ids, reason, len(ids))
    return Judged([PROBLEM.row], [[1, 2]], [rollout], [read_trace(ids, DELIMITERS)], [verdict])


def sample_of(text: str, reason: StopReason = StopReason.EOS, verdict: float | None = 1.0) -> Sample:
    (sample,) = to_samples([(PROBLEM, 1)], judged(text, reason, verdict), TOKENIZER)
    return sample


@pytest.mark.parametrize(("verdict", "correct"), [(1.0, 1), (0.0, 0), (None, None)])
def test_a_finished_sample_has_the_verdict_of_the_verifier(verdict: float | None, correct: int | None) -> None:
    assert sample_of("<think>\n7\n</think>7", verdict=verdict).correct == correct


def test_a_right_answer_that_was_cut_is_wrong_as_in_training() -> None:
    cut = judged("<think>\n7\n</think>7", StopReason.LENGTH, 1.0)
    (sample,) = to_samples([(PROBLEM, 0)], cut, TOKENIZER)
    assert (sample.correct, sample.answer, cut.earned) == (0, "7", [0.0])


def test_what_was_given_up_has_no_verdict_and_no_answer_however_far_it_came() -> None:
    sample = sample_of("<think>\n7\n</think>7", StopReason.ABORTED, None)
    assert (sample.correct, sample.answer, sample.reflections) == (None, None, None)


def test_a_sample_keeps_what_is_known_of_its_problem() -> None:
    sample = sample_of("<think>\n7\n</think>7")
    assert (sample.problem, sample.sample, sample.prompt, sample.gold) == (3, 1, "What is 7?", "7")
    assert (sample.difficulty, sample.oracle_length, sample.facts) == (2, 5, {"target": 30.0})


def test_the_end_of_a_completion_is_a_token_and_no_text() -> None:
    sample = sample_of("<think>\n7\n</think>7")
    assert sample.length == len(sample.completion_ids) and not sample.text.endswith(str(TOKENIZER.eos_token))


def test_without_a_problem_there_is_no_sample() -> None:
    none = judged("7", StopReason.EOS, 1.0).take([])
    assert to_samples([], none, TOKENIZER) == []
