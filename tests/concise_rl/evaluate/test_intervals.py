import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy.stats import bootstrap, ttest_1samp, ttest_ind

from concise_rl.evaluate.intervals import RESAMPLES, SHARE, estimate, interval, seed_draws
from concise_rl.evaluate.statistics import accuracy_change, token_savings


@pytest.mark.parametrize(("statistic", "columns"), [(np.mean, 1), (token_savings, 2), (accuracy_change, 2)])
def test_an_interval_is_that_of_scipy(statistic: Callable[..., np.ndarray], columns: int) -> None:
    columns_P = np.random.default_rng(1).random((columns, 50))
    result = bootstrap(
        columns_P,
        statistic,
        n_resamples=RESAMPLES,
        batch=500,
        vectorized=True,
        paired=True,
        method="percentile",
        rng=np.random.default_rng(0),
    )
    assert interval(statistic, *columns_P) == pytest.approx(tuple(result.confidence_interval), abs=1e-12)


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    rng, covered = np.random.default_rng(0), 0
    for _ in range(60):
        skill_P = rng.uniform(0.2, 0.9, 80)
        before_P, after_P = rng.binomial(8, skill_P) / 8, rng.binomial(8, skill_P + 0.05) / 8
        low, high = interval(accuracy_change, after_P, before_P) or (math.nan, math.nan)
        covered += low <= 0.05 <= high
    assert covered >= 52


def test_pairing_narrows_the_interval_of_a_change_to_what_the_change_varies_by() -> None:
    rng = np.random.default_rng(1)
    skill_P = rng.uniform(0, 1, 100)
    low, high = interval(accuracy_change, skill_P + 0.1, skill_P) or (math.nan, math.nan)
    assert low == pytest.approx(0.1)
    assert high == pytest.approx(0.1)


FLAT_P = np.full(20, 0.7)
"""What does not vary over problems."""


def by_seed(*means: float) -> np.ndarray:
    return np.array(means)[:, None] + np.zeros(20)


def test_where_problems_do_not_vary_the_interval_of_three_seeds_is_that_of_students_t() -> None:
    expected = ttest_1samp([0.6, 0.7, 0.8], 0).confidence_interval()
    assert interval(np.mean, FLAT_P, runs=[by_seed(0.6, 0.7, 0.8)]) == pytest.approx(tuple(expected), abs=2e-3)


def test_of_a_difference_it_is_that_of_welch() -> None:
    one, two = [0.6, 0.7, 0.8], [0.48, 0.50, 0.52, 0.5]
    expected = ttest_ind(one, two, equal_var=False).confidence_interval()
    found = interval(accuracy_change, FLAT_P, FLAT_P - 0.2, runs=[by_seed(*one), by_seed(*two)])
    assert found == pytest.approx(tuple(expected), abs=2e-3)


def test_of_a_ratio_it_is_that_of_the_ratios_by_seed() -> None:
    expected = ttest_1samp([1 - 30 / 100, 1 - 40 / 100, 1 - 50 / 100], 0).confidence_interval()
    tokens_P = np.full(20, 40.0)
    found = interval(token_savings, tokens_P, tokens_P + 60, runs=[by_seed(30, 40, 50), by_seed(100)])
    assert found == pytest.approx(tuple(expected), abs=2e-3)


@pytest.mark.parametrize("runs", [by_seed(0.7), by_seed(0.7, 0.7), by_seed(0.7, math.nan)])
def test_one_seed_and_seeds_that_agree_add_nothing(runs: np.ndarray) -> None:
    values_P = np.random.default_rng(2).random(20)
    assert interval(np.mean, values_P, runs=[runs]) == interval(np.mean, values_P)


def test_a_share_stays_between_0_and_1() -> None:
    assert estimate(np.mean, FLAT_P + 0.2, runs=[by_seed(0.8, 0.9, 1.0)], ends=SHARE).ci95 == pytest.approx(
        (0.65, 1), abs=0.01
    )


def test_with_three_seeds_the_interval_covers_what_all_seeds_average_about_as_often_as_it_says() -> None:
    rng, covered = np.random.default_rng(0), 0
    for _ in range(200):
        runs_SP = 0.5 + rng.normal(0, 0.1, 40) + rng.normal(0, 0.03, (3, 1)) + rng.normal(0, 0.1, (3, 40))
        low, high = interval(np.mean, runs_SP.mean(axis=0), runs=[runs_SP]) or (math.nan, math.nan)
        covered += low <= 0.5 <= high
    assert covered >= 186


def test_without_any_seeds_nothing_is_drawn() -> None:
    assert seed_draws([]).tolist() == [0]
