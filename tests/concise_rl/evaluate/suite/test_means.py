import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from concise_rl.evaluate.statistics import Table, accuracy_change, aes, compare, describe, tabulate
from concise_rl.evaluate.suite.means import describe_tasks, mean_over_tasks
from tests.concise_rl.evaluate.fabric import grid

TABLES = Path(__file__).parents[5] / "shared/goldens/aes_tables.json"


def table(problems: int, right: Callable[[int], int | None], length: Callable[[int], int]) -> Table:
    """A task's table, of two samples a problem, by functions of the problem's number."""
    return tabulate(grid(problems, 2, lambda p, k: right(p), lambda p, k: length(p) + k), problems, 2)


EASY = table(40, lambda p: int(p % 8 > 0), lambda p: 100 + p)
HARD = table(10, lambda p: int(p < 3), lambda p: 400 + 10 * p)
SHORT_EASY = table(40, lambda p: int(p % 10 > 0), lambda p: 30 + p)
SHORT_HARD = table(10, lambda p: int(p < 2), lambda p: 200 + 7 * p)


@pytest.mark.parametrize("pooled", [False, True])
def test_the_mean_of_one_task_is_what_its_own_report_says(pooled: bool) -> None:
    mean, alone = describe_tasks([SHORT_EASY], [EASY], pooled), describe(SHORT_EASY)
    compared = compare([SHORT_EASY], [EASY])
    assert (mean.accuracy.value, *mean.accuracy.ci95) == pytest.approx((alone.accuracy, *alone.accuracy_ci95))
    assert (mean.tokens.value, *mean.tokens.ci95) == pytest.approx((alone.tokens, *alone.tokens_ci95))
    for mine, its in ((mean.token_savings, compared.token_savings), (mean.accuracy_change, compared.accuracy_change)):
        assert (mine.value, *mine.ci95) == pytest.approx((its.value, *its.ci95))
    assert mean.aes == pytest.approx(compared.aes)


def test_a_macro_mean_weighs_tasks_alike_and_a_pooled_one_problems() -> None:
    macro, pooled = (describe_tasks([EASY, HARD], None, weigh) for weigh in (False, True))
    assert macro.accuracy.value == pytest.approx((35 / 40 + 3 / 10) / 2)
    assert pooled.accuracy.value == pytest.approx((35 + 3) / 50)
    assert macro.tokens.value == pytest.approx((120 + 445.5) / 2)
    assert macro.token_savings is None and macro.aes is None


def test_the_score_of_several_tasks_is_that_of_their_means() -> None:
    mean = describe_tasks([SHORT_EASY, SHORT_HARD], [EASY, HARD], pooled=False)
    before = describe_tasks([EASY, HARD], None, pooled=False)
    assert mean.aes == aes(before.accuracy.value, before.tokens.value, mean.accuracy.value, mean.tokens.value)
    assert mean.token_savings.value == pytest.approx(1 - mean.tokens.value / before.tokens.value)


def test_tasks_are_resampled_independently() -> None:
    values_P = np.random.default_rng(3).random(200)
    widths = []
    for tasks in (1, 4):
        found = mean_over_tasks(np.mean, [(values_P,)] * tasks, pooled=False)
        widths.append(found.ci95[1] - found.ci95[0])
    assert widths[1] == pytest.approx(widths[0] / 2, rel=0.05), "the mean of four independent ones is half as wide"


def test_problems_without_a_verdict_are_left_out_and_a_task_without_any_has_no_mean() -> None:
    partly = table(10, lambda p: None if p < 5 else 1, lambda p: 50)
    unknown = table(10, lambda p: None, lambda p: 50)
    assert describe_tasks([partly, HARD], None, False).accuracy.value == pytest.approx((1 + 0.3) / 2)
    mean = describe_tasks([unknown, HARD], [HARD, HARD], False)
    assert mean.accuracy.value is None and mean.aes is None
    assert mean.tokens.value == pytest.approx((50.5 + 445.5) / 2)


def test_a_task_of_one_problem_leaves_the_mean_without_an_interval() -> None:
    one = table(1, lambda p: 1, lambda p: 10)
    mean = describe_tasks([one, EASY], [one, EASY], False)
    assert mean.accuracy_change.value == 0.0 and mean.accuracy_change.ci95 is None


def test_differences_are_paired_within_each_task() -> None:
    found = mean_over_tasks(accuracy_change, [(np.arange(9) + 0.25, np.arange(9.0)), (np.ones(4), np.ones(4))], False)
    assert found.value == pytest.approx(0.125)
    assert found.ci95 == pytest.approx((0.125, 0.125))


@pytest.mark.skipif(not TABLES.is_file(), reason="needs ../shared/goldens")
def test_published_averages_give_the_printed_scores() -> None:
    rows = [row for row in json.loads(TABLES.read_text())["rows"] if row["matches"] in ("standard", "both")]
    assert len(rows) >= 10
    for row in rows:
        found = aes(row["base_acc"], row["base_tokens"], row["acc"], row["tokens"])
        rounding = 0.0125 if "O1-Pruner" in row["source"] else 0.0075  # of inputs that are printed rounded
        assert found == pytest.approx(row["printed_aes"], abs=rounding), row
