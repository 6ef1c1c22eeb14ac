"""What is counted of samples."""

import itertools

import numpy as np
import pytest

from concise_rl.evaluate.probe.rollouts import Rollouts, groups_of, read_rollouts, share
from concise_rl.evaluate.samples import Sample
from concise_rl.evaluate.statistics import tabulate
from tests.concise_rl.evaluate.fabric import grid, labelled, sample


def read(samples: list[Sample], problems: int, number: int, cap: int = 100) -> Rollouts:
    return read_rollouts(tabulate(samples, problems, number), cap)


def test_groups_fall_as_all_groups_that_can_be_drawn_from_the_samples_do() -> None:
    verdicts = [1, 1, 1, 0, 0]
    found = groups_of(np.array([verdicts, verdicts], dtype=float), 3)
    drawn = [sum(group) for group in itertools.combinations(verdicts, 3)]
    assert found
    assert found.all_right.value == pytest.approx(drawn.count(3) / len(drawn))
    assert found.all_wrong.value == pytest.approx(drawn.count(0) / len(drawn))
    assert found.mixed.value == pytest.approx(sum(0 < right < 3 for right in drawn) / len(drawn))
    assert found.mostly_right.value == pytest.approx(sum(right >= 2 for right in drawn) / len(drawn))


def test_shares_of_groups_are_unbiased() -> None:
    rng = np.random.default_rng(0)
    found = groups_of((rng.random((2_000, 10)) < 0.8).astype(float), 8)
    assert found and found.all_right.value == pytest.approx(0.8**8, abs=0.02)


def test_groups_larger_than_the_samples_of_a_problem_are_not_guessed() -> None:
    assert groups_of(np.ones((4, 7)), 8) is None
    assert groups_of(np.array([[1.0] * 8, [1.0] * 7 + [np.nan]]), 8) is None


def test_a_sample_that_is_longer_than_a_budget_counts_as_wrong() -> None:
    found = read(grid(2, 2, lambda p, k: 1, lambda p, k: 10 if k else 40), 2, 2)
    assert {budget.tokens: budget.ended for budget in found.budgets}[20] == 0.5
    assert found.budgets[-1].ended == 1.0


def test_what_is_saved_is_the_redundant_share_of_all_tokens() -> None:
    right = [labelled(p, 0, redundant=12, overshoot=12) for p in range(2)]  # of 20 tokens, 16 of them thinking
    wrong = [sample(p, 1, 0, 20) for p in range(2)]
    found = read(right + wrong, 2, 2)
    assert found.saved.value == pytest.approx(12 / 40)
    assert found.redundant.value == pytest.approx(12 / 16)


def test_a_right_sample_whose_thinking_never_states_the_answer_has_no_redundancy() -> None:
    samples = [labelled(p, 0, first=None) for p in range(2)] + [
        labelled(p, 1, redundant=8, overshoot=8) for p in range(2)
    ]
    found = read(samples, 2, 2)
    assert found.redundant.value == pytest.approx(8 / 32)
    assert found.stated.value == 0.5


def test_stopping_at_the_statement_needs_the_tokens_up_to_it_and_the_answer() -> None:
    found = read([labelled(p, 0, redundant=12, overshoot=12) for p in range(2)], 2, 1)
    first = next(budget.tokens for budget in found.budgets if budget.stated == 1.0)
    assert first == 20 - 12


def test_quantiles_are_lengths_that_so_many_samples_do_not_exceed() -> None:
    found = read(grid(10, 10, lambda p, k: 1, lambda p, k: 10 * p + k + 5), 10, 10, cap=512)
    assert found.quantiles == {10: 14, 50: 54, 90: 94, 99: 103}
    assert sum(found.counts) == 100


def test_a_sample_without_a_closing_delimiter_is_unclosed_where_it_ended_and_cut_where_not() -> None:
    ended = [sample(p, 0, 0, 20, answer=None, think_length=19) for p in range(2)]
    cut = [sample(p, 1, 0, 100, answer=None, think_length=100, stop_reason="length", finished=False) for p in range(2)]
    found = read(ended + cut, 2, 2)
    assert (found.unclosed.value, found.cut.value, found.closed.value) == (0.5, 0.5, 0.0)


def test_a_share_on_which_all_samples_agree_still_has_a_width() -> None:
    few, many = share(np.zeros((10, 2))), share(np.zeros((100, 10)))
    assert few.ci95 and many.ci95
    assert few.value == many.value == 0 and few.ci95[1] > 0.1 > many.ci95[1] > 0


def test_where_no_sample_was_graded_nothing_is_known_of_accuracy() -> None:
    found = read([sample(p, k, correct=None) for p in range(2) for k in range(2)], 2, 2)
    assert (found.accuracy.value, found.unjudged, found.groups) == (None, 4, [])
    assert {(budget.ended, budget.stated) for budget in found.budgets} == {(None, None)}
