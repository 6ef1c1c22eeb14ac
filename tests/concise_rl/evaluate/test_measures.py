import itertools
import math
from collections.abc import Sequence

import numpy as np
import pytest

from concise_rl.evaluate import measures
from concise_rl.evaluate.frontier import Frontier
from concise_rl.evaluate.intervals import estimate
from concise_rl.evaluate.measures import Measure, estimates
from concise_rl.evaluate.samples import Sample
from concise_rl.evaluate.statistics import Table, tabulate, token_savings
from tests.concise_rl.evaluate.fabric import given_up, grid, labelled, sample


def value(measure: Measure) -> float | None:
    return estimates([measure])[0].value


def table(samples: Sequence[Sample], problems: int = 1) -> Table:
    return tabulate(samples, problems, len(samples) // problems)


LENGTHS = table([sample(0, 0, 1, 10), sample(0, 1, 1, 30), sample(0, 2, 0, 5), sample(0, 3, 1, 40)])


def test_a_sample_counts_within_a_budget_if_it_is_right_and_ended_by_then() -> None:
    assert [value(measures.accuracy_within(LENGTHS, b)) for b in (9, 10, 29, 30, 40)] == [0, 0.25, 0.25, 0.5, 0.75]


def test_the_area_is_the_mean_of_the_accuracy_within_all_budgets() -> None:
    within = [value(measures.accuracy_within(LENGTHS, b)) for b in range(40)]
    assert value(measures.budget_area(LENGTHS, 40)) == pytest.approx(sum(filter(None, within)) / 40)


def test_the_budgets_of_a_curve_end_at_the_cap() -> None:
    assert measures.budgets(512) == [8, 16, 32, 64, 128, 256, 512]
    assert measures.budgets(1) == [1]
    assert measures.budgets(100)[-2:] == [50, 100]


def test_the_efficiency_gap_is_the_sum_over_every_budget_of_the_frontier_minus_the_accuracy() -> None:
    frontier = Frontier((8, 18, 50), (0.5, 1.0, 1.0))
    best = [min(1.0, 0.5 + 0.05 * (budget - 8)) for budget in range(8, 51)]
    within = [value(measures.accuracy_within(LENGTHS, budget)) or 0.0 for budget in range(8, 51)]
    expected = sum(one - two for one, two in zip(best, within, strict=True))
    assert value(measures.efficiency_gap(LENGTHS, frontier)) == pytest.approx(expected)


def test_overthinking_adjusted_accuracy_asks_for_fewer_thinking_tokens_than_the_limit() -> None:
    drawn = table([sample(0, 0, 1, 54), sample(0, 1, 1, 104)])  # 50 and 100 of them thinking
    assert [value(measures.oaa(drawn, limit)) for limit in (50, 51, 100, 101)] == [0, 0.5, 0.5, 1]
    assert value(measures.oaa_area(drawn, 100)) == pytest.approx(0.25)
    steps = [value(measures.oaa(drawn, limit)) or 0.0 for limit in range(1, 1001)]
    assert value(measures.oaa_area(drawn)) == pytest.approx(sum(steps) / 1000)


@pytest.mark.parametrize("k", [1, 2, 3, 5])
def test_pass_at_k_is_the_share_of_the_subsets_with_a_right_sample(k: int) -> None:
    correct = [1, 0, 0, 1, 0]
    subsets = list(itertools.combinations(correct, k))
    expected = sum(any(subset) for subset in subsets) / len(subsets)
    assert measures.pass_at_k(np.array([2]), np.array([5]), k)[0] == pytest.approx(expected)


def test_pass_at_more_samples_than_there_are_is_0_and_the_report_leaves_the_problem_out() -> None:
    assert measures.pass_at_k(np.array([5]), np.array([5]), 6)[0] == 0
    one_ungraded = table([sample(0, 0, None), sample(0, 1, 1), sample(1, 0, 0), sample(1, 1, 1)], problems=2)
    assert value(measures.pass_at(one_ungraded, 2)) == 1
    assert value(measures.pass_at(one_ungraded, 3)) is None


def voted(k: int, *answers: tuple[str | None, int | None]) -> float | None:
    samples = [sample(0, i, correct, answer=answer) for i, (answer, correct) in enumerate(answers)]
    drawn = table(samples)
    return value(measures.majority_at(drawn, k, measures.ballots(drawn)))


def test_the_majority_is_by_value_and_not_by_spelling() -> None:
    assert voted(3, (r"It is \boxed{0.5}.", 1), ("8", 0), (r"\boxed{1/2}", 1)) == 1


def test_a_tie_counts_by_the_share_of_its_answers_that_are_right() -> None:
    assert voted(2, ("7", 1), ("8", 0)) == 0.5


def test_samples_without_an_answer_do_not_vote_and_without_any_vote_the_group_is_wrong() -> None:
    assert voted(3, ("7", 1), (None, 0), (None, 0)) == 1
    assert voted(2, (None, 0), (None, 0)) == 0


def test_samples_vote_in_groups_and_those_left_over_count_nowhere() -> None:
    assert voted(2, ("7", 1), ("7", 1), ("8", 0), ("8", 0), ("8", 0)) == 0.5


def test_an_answer_that_could_not_be_graded_has_no_verdict_by_majority() -> None:
    assert voted(1, ("7", None), ("7", 1)) == 1


READ = [
    labelled(0, 0, redundant=26, overshoot=30, length=54),  # 50 tokens of thinking, 20 of them needed
    labelled(0, 1, first=None, length=14),
    sample(0, 2, 0, 20),
    sample(0, 3, None, 20),
]


def test_outcome_efficiency_is_the_share_of_tokens_up_to_the_first_right_answer() -> None:
    assert value(measures.outcome_efficiency(table(READ))) == pytest.approx((20 / 54 + 1 + 0) / 3)


def test_token_efficiency_is_the_share_of_the_thinking_and_0_where_that_never_states_the_answer() -> None:
    assert value(measures.token_efficiency(table(READ))) == pytest.approx((20 / 50 + 0 + 0) / 3)


def test_efficiencies_are_unknown_where_no_judge_has_read() -> None:
    unread = table([sample(0, 0, 1), sample(0, 1, 0)])
    assert value(measures.outcome_efficiency(unread)) is None
    assert value(measures.token_efficiency(unread)) is None


def test_process_efficiency_leaves_out_what_repeats_and_samples_that_were_given_up() -> None:
    drawn = table([sample(0, 0, text="3\n3\n"), sample(0, 1, text="3\n4\n"), given_up(0, 2)])
    assert value(measures.process_efficiency(drawn)) == pytest.approx(0.75)


def test_hard_over_easy_goes_by_the_difficulty_of_the_task_where_that_is_a_number() -> None:
    samples = [sample(p, 0, 1, 10 * (p + 1), difficulty=p) for p in range(4)]
    rows = table(samples, problems=4)
    assert value(measures.hard_over_easy(rows, measures.difficulty_of(rows))) == pytest.approx(35 / 15)


def test_hard_over_easy_goes_by_the_share_of_wrong_samples_elsewhere() -> None:
    rows = table(grid(4, 2, lambda p, k: int(p < 3), lambda p, k: 60 if p == 3 else 20), problems=4)
    assert value(measures.hard_over_easy(rows, measures.difficulty_of(rows))) == pytest.approx(3)


def test_hard_over_easy_is_unknown_where_all_problems_are_as_hard() -> None:
    rows = table(grid(4, 1, lambda p, k: 1, lambda p, k: 20), problems=4)
    assert value(measures.hard_over_easy(rows, measures.difficulty_of(rows))) is None


def test_compression_weighs_problems_alike_or_by_their_tokens() -> None:
    long = table(grid(2, 1, lambda p, k: 1, lambda p, k: (100, 20)[p]), problems=2)
    short = table(grid(2, 1, lambda p, k: 1, lambda p, k: (10, 20)[p]), problems=2)
    assert value(measures.compression_macro(short, long)) == pytest.approx((0.1 + 1) / 2)
    assert value(measures.compression_pooled(short, long)) == pytest.approx(30 / 120)


def test_tokens_of_right_and_wrong_samples_are_pooled() -> None:
    assert value(measures.pooled_mean(LENGTHS.length_PK, LENGTHS.correct_PK == 1)) == pytest.approx(80 / 3)
    assert value(measures.pooled_mean(LENGTHS.length_PK, LENGTHS.correct_PK == 0)) == 5


def test_intervals_are_those_of_the_other_estimates() -> None:
    rng = np.random.default_rng(3)
    one, two = rng.uniform(1, 2, 40), rng.uniform(1, 2, 40)
    found, mean = estimates([Measure(measures.ratio, (one, two)), measures.mean_over_problems(one)])
    savings = estimate(token_savings, one, two)
    assert savings.ci95
    assert found.ci95 == pytest.approx((1 - savings.ci95[1], 1 - savings.ci95[0]))
    assert mean.ci95 == pytest.approx(estimate(np.mean, one).ci95)


def test_one_problem_has_no_interval_and_nothing_known_has_no_value() -> None:
    found = estimates([measures.mean_over_problems(np.array([2.0])), measures.mean_over_problems(np.array([np.nan]))])
    assert [(one.value, one.ci95) for one in found] == [(2.0, None), (None, None)]
    assert estimates([]) == []


def test_resamples_without_a_right_sample_are_left_out_of_an_interval() -> None:
    drawn = table([sample(0, 0, 1, 10), sample(1, 0, 0, 30), sample(2, 0, 0, 30)], problems=3)
    found = estimates([measures.pooled_mean(drawn.length_PK, drawn.correct_PK == 1)])[0]
    assert (found.value, found.ci95) == (pytest.approx(10), pytest.approx((10, 10)))


def test_counting_mathematics_once_is_an_option_of_the_otb_scores() -> None:
    subsets = ["overthinking-bench", "overthinking-math", "underthinking-bench", "underthinking-math"]
    rows = (subsets, [1.0, 1.0, 1.0, 0.0], [0, 500, 9, 9])
    once, twice = measures.otb_scores(*rows, math_twice=False), measures.otb_scores(*rows)
    assert (once["over_score"], once["under_score"]) == (0.75, 0.5)
    assert (twice["over_score"], twice["under_score"]) == (0.625, 0.25)
    assert once["f1"] == pytest.approx(0.6)


def test_otb_scores_of_no_rows_are_unknown() -> None:
    assert math.isnan(measures.otb_scores(["overthinking-bench"], [1.0], [3.0])["f1"])
