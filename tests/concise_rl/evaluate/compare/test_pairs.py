import random
from dataclasses import replace

import numpy as np
import pytest

from concise_rl.evaluate.compare.front import Means, resample
from concise_rl.evaluate.compare.pairs import compare_pairs
from concise_rl.evaluate.intervals import Estimate
from tests.concise_rl.evaluate.compare.test_front import label

PROBLEMS = 200


def means_of(*methods: tuple[float, int]) -> Means:
    """Of methods with an accuracy and a length; what one gets right, a less accurate one may get wrong."""
    rng = random.Random(0)
    luck = [rng.random() for _ in range(PROBLEMS)]
    return resample([label(str(i), [int(u < a) for u in luck], [n] * PROBLEMS) for i, (a, n) in enumerate(methods)])


def verdicts(means: Means, margin: float = 0.02) -> list[tuple[str, str]]:
    return [(pair.first_saves, pair.second_saves) for pair in compare_pairs(means, margin)]


def test_fewer_tokens_at_the_same_answers_save() -> None:
    assert verdicts(means_of((0.8, 30), (0.8, 60))) == [("yes", "no")]


def test_fewer_tokens_and_far_fewer_right_answers_do_not_save() -> None:
    assert verdicts(means_of((0.6, 30), (0.9, 60))) == [("no", "no")]


def test_a_loss_about_as_large_as_the_margin_cannot_be_told() -> None:
    assert verdicts(means_of((0.78, 30), (0.80, 60))) == [("cannot tell", "no")]


def test_a_wider_margin_lets_it_pass() -> None:
    assert verdicts(means_of((0.78, 30), (0.80, 60)), margin=0.1) == [("yes", "no")]


def test_a_method_does_not_save_more_than_its_equal() -> None:
    assert verdicts(means_of((0.8, 30), (0.8, 30))) == [("no", "no")]


def test_seeds_that_differ_by_as_much_as_the_methods_leave_it_open() -> None:
    means = means_of((0.8, 30), (0.8, 60))
    seeds = (np.array([10.0, 30.0, 50.0]), np.array([40.0, 60.0, 80.0]))
    (pair,) = compare_pairs(replace(means, tokens_MS=seeds), 0.02)
    assert (pair.first_saves, pair.second_saves) == ("cannot tell", "cannot tell")
    assert pair.tokens.ci95 == pytest.approx((-30 - 45.3, -30 + 45.3), abs=1)  # Welch, four degrees of freedom


def test_every_two_methods_are_a_pair() -> None:
    pairs = compare_pairs(means_of((0.8, 30), (0.8, 40), (0.8, 50)), 0.02)
    assert [(pair.first, pair.second) for pair in pairs] == [(0, 1), (0, 2), (1, 2)]


def test_the_differences_are_the_first_minus_the_second() -> None:
    (pair,) = compare_pairs(means_of((1.0, 30), (0.0, 60)), 0.02)
    assert pair.tokens == Estimate(-30, (-30, -30)) and pair.accuracy == Estimate(1, (1, 1))


def test_one_method_makes_no_pair() -> None:
    assert compare_pairs(means_of((0.8, 30)), 0.02) == []


def test_many_equal_methods_make_no_claims_by_accident() -> None:
    rng = np.random.default_rng(0)
    lengths = rng.integers(20, 60, (12, PROBLEMS)).tolist()
    means = resample([label(str(i), [1] * PROBLEMS, length) for i, length in enumerate(lengths)])
    assert {verdict for pair in verdicts(means) for verdict in pair} == {"cannot tell"}


def test_without_a_common_problem_nothing_is_compared() -> None:
    assert compare_pairs(resample([label("a", [None, 1], [5, 5]), label("b", [1, None], [5, 5])]), 0.02) == []
