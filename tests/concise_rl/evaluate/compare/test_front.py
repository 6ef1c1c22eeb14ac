import numpy as np
import pytest

from concise_rl.evaluate.compare.front import dominators, front_shares, on_front, resample
from concise_rl.evaluate.evaluation import Label
from concise_rl.evaluate.spec import ModelRun
from concise_rl.evaluate.statistics import tabulate
from tests.concise_rl.evaluate.fabric import grid


def front(tokens: list[float], accuracy: list[float]) -> list[bool]:
    return on_front(np.array(tokens), np.array(accuracy)).tolist()


def label(name: str, right: list[int | None], length: list[int]) -> Label:
    samples = grid(len(right), 1, lambda p, k: right[p], lambda p, k: length[p])
    table = tabulate(samples, len(right), 1)
    return Label(name, (ModelRun(label=name, model=name),), (table,), (table,))


def test_what_has_more_tokens_and_less_accuracy_is_not_on_the_front() -> None:
    assert front([10, 20, 30], [0.5, 0.4, 0.9]) == [True, False, True]


def test_one_method_is_the_front() -> None:
    assert front([10], [0.0]) == [True]


def test_equal_methods_are_both_on_the_front() -> None:
    assert front([10, 10, 20], [0.5, 0.5, 0.4]) == [True, True, False]


def test_a_tie_in_one_number_is_decided_by_the_other() -> None:
    assert front([10, 20], [0.5, 0.5]) == [True, False]
    assert front([10, 10], [0.5, 0.6]) == [False, True]


def test_a_method_without_accuracy_is_not_on_the_front_and_keeps_no_other_off() -> None:
    assert front([5, 10], [np.nan, 0.5]) == [False, True]


def test_no_method_has_no_front() -> None:
    assert front([], []) == []


def test_the_front_is_taken_of_each_resample() -> None:
    assert on_front(np.array([[10, 20], [20, 10]]), np.array([[0.5, 0.5], [0.5, 0.5]])).tolist() == [
        [True, False],
        [False, True],
    ]


def test_a_dominated_method_is_behind_the_most_accurate_that_dominates_it() -> None:
    assert dominators(np.array([10, 20, 30]), np.array([0.5, 0.6, 0.4])) == [None, None, 1]


def test_a_method_better_on_every_problem_is_on_the_front_in_every_resample() -> None:
    better, worse = label("a", [1] * 8, [5] * 8), label("b", [0] * 8, [9] * 8)
    assert front_shares(resample([better, worse])).tolist() == [1, 0]


def test_methods_that_no_problem_tells_apart_are_both_on_the_front_in_every_resample() -> None:
    one, two = (label(name, [1, 0, 1, 0], [5, 6, 7, 8]) for name in "ab")
    assert front_shares(resample([one, two])).tolist() == [1, 1]


def test_the_share_of_a_method_that_is_better_by_luck_is_between() -> None:
    lucky = label("a", [1, 1, 1, 0, 1, 0], [6] * 6)
    unlucky = label("b", [1, 1, 0, 1, 0, 0], [5] * 6)
    share, _ = front_shares(resample([lucky, unlucky]))
    assert 0.5 < share < 0.99


def test_accuracies_are_paired_over_the_problems_that_were_graded_for_all() -> None:
    means = resample([label("a", [None, 1, 0], [5] * 3), label("b", [0, 1, 1], [5] * 3)])
    assert means.accuracy_M.tolist() == [0.5, 1.0]


def test_without_a_problem_graded_for_all_there_is_no_accuracy() -> None:
    means = resample([label("a", [None, 1], [5] * 2), label("b", [0, None], [5] * 2)])
    assert np.isnan(means.accuracy_M).all() and np.isnan(means.accuracy_RM).all()


def test_the_means_of_resamples_are_around_those_of_all_problems() -> None:
    means = resample([label("a", [1, 0, 1, 1], [5, 6, 7, 8])])
    assert means.tokens_RM.mean() == pytest.approx(means.tokens_M[0], abs=0.05)
    assert means.accuracy_RM.mean() == pytest.approx(means.accuracy_M[0], abs=0.02)
