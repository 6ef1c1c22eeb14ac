import random
from collections.abc import Callable

import pytest

from concise_rl.evaluate.statistics import (
    Table,
    aes,
    check_comparable,
    compare,
    describe,
    oracle_tokens,
    pool,
    tabulate,
)
from tests.concise_rl.evaluate.fabric import given_up, grid, labelled, sample


def table(
    correct: Callable[[int, int], int | None] = lambda p, k: (p + k) % 2,
    length: Callable[[int, int], int] = lambda p, k: 10 + p,
    problems: int = 6,
    samples: int = 2,
) -> Table:
    return tabulate(grid(problems, samples, correct, length), problems, samples)


@pytest.mark.parametrize(
    ("base_acc", "base_tokens", "acc", "tokens", "expected"),
    [
        (0.2748, 11683, 0.3134, 8736, 0.673644234316),
        (0.8582, 5190, 0.6692, 2484, -0.579754641722),
        (0.4521, 9340, 0.4778, 4000, 0.7422719670801),  # the printed 0.74 of DECS, Table 1
        (0.6462, 0, 0.6933, 1651, 0.218662952646),
        (0.0, 7932, 0.8243, 270, 0.965960665658),
        (0.5, 100, 0.5, 100, 0.0),
    ],
)
def test_aes_follows_the_published_values(
    base_acc: float, base_tokens: float, acc: float, tokens: float, expected: float
) -> None:
    assert aes(base_acc, base_tokens, acc, tokens) == pytest.approx(expected, abs=1e-9)


def test_twice_the_samples_do_not_halve_the_accuracy() -> None:
    single = describe(table(lambda p, k: p % 2, samples=1))
    double = describe(table(lambda p, k: p % 2, samples=2))
    assert double.accuracy == single.accuracy == 0.5


def test_tokens_count_wrong_and_truncated_samples() -> None:
    samples = [sample(0, 0, length=10), sample(0, 1, correct=0, length=20)]
    samples += [sample(0, 2, correct=0, answer=None, length=60, stop_reason="length", finished=False)]
    described = describe(tabulate(samples, 1, 3))
    assert (described.tokens, described.tokens_correct, described.tokens_thinking) == (30, 10, 26)
    assert described.truncated == pytest.approx(1 / 3)
    assert described.stop_reasons == {"eos": 2, "length": 1}


def test_samples_that_could_not_be_graded_are_left_out_of_accuracy_and_counted() -> None:
    described = describe(table(lambda p, k: None if k == 0 else 1))
    assert described.accuracy == 1.0
    assert described.unjudged == 6


def test_samples_given_up_do_not_count_as_unjudged() -> None:
    described = describe(tabulate([sample(0, 0), given_up(0, 1), sample(0, 2, None)], 1, 3))
    assert (described.unjudged, described.accuracy) == (1, 1.0)
    assert described.stop_reasons == {"aborted": 1, "eos": 2}


def test_a_problem_without_a_verdict_is_left_out_of_the_change_on_both_sides() -> None:
    unjudged_first = table(lambda p, k: None if p == 0 else 1)
    wrong_first = table(lambda p, k: 0 if p == 0 else 1)
    assert compare([unjudged_first], [wrong_first]).accuracy_change.value == 0


def test_without_any_verdict_there_is_no_accuracy_but_there_are_savings() -> None:
    nothing, short = table(lambda p, k: None), table(lambda p, k: None, length=lambda p, k: 5)
    comparison = compare([short], [nothing])
    assert describe(nothing).accuracy is None
    assert comparison.accuracy_change.value is None
    assert comparison.aes is None
    assert comparison.token_savings.value == pytest.approx(1 - 5 / 12.5)


def test_all_truncated_samples_give_numbers_and_no_errors() -> None:
    cut = [sample(p, 0, 0, length=512, answer=None, stop_reason="length", finished=False) for p in range(4)]
    described = describe(tabulate(cut, 4, 1))
    assert (described.accuracy, described.truncated, described.tokens_correct) == (0, 1, None)
    assert described.accuracy_ci95 == (0, 0)


def test_one_problem_has_no_interval() -> None:
    assert describe(table(problems=1)).tokens_ci95 is None


def test_an_interval_is_the_same_every_time() -> None:
    assert describe(table()) == describe(table())


def test_savings_are_of_mean_tokens_and_inside_their_interval() -> None:
    savings = compare([table(length=lambda p, k: 5)], [table()]).token_savings
    assert savings.value == pytest.approx(1 - 5 / 12.5)
    assert savings.ci95 is not None
    assert savings.ci95[0] <= savings.value <= savings.ci95[1]


def test_several_runs_of_a_label_are_pooled_by_problem() -> None:
    lucky, unlucky = table(lambda p, k: 1), table(lambda p, k: 0)
    both = describe(pool([lucky, unlucky]))
    assert (both.accuracy, both.samples) == (0.5, 24)
    assert compare([lucky, unlucky], [lucky]).accuracy_change.value == -0.5


def test_runs_that_differ_widen_every_interval_of_their_label() -> None:
    mixed = table(lambda p, k: (p + k) % 2)
    lucky, unlucky = table(lambda p, k: 1, lambda p, k: 8 + p), table(lambda p, k: 0, lambda p, k: 12 + p)
    alike, differing = compare([mixed, mixed], [mixed]), compare([lucky, unlucky], [mixed])
    assert alike.accuracy_change.ci95 == (0, 0)
    assert differing.accuracy_change.ci95 == pytest.approx((-6.35, 6.35), abs=0.1)  # one degree of freedom
    assert describe(pool([lucky, unlucky])).accuracy_ci95 == (0, 1)
    assert alike.token_savings.ci95 == (0, 0) and differing.token_savings.ci95[0] < -1


def test_a_baseline_may_have_several_runs() -> None:
    lucky, unlucky = table(lambda p, k: 1), table(lambda p, k: 0)
    assert compare([lucky], [lucky, unlucky]).accuracy_change.value == 0.5


def test_other_prompts_are_not_compared() -> None:
    other = tabulate([sample(p, k, prompt_hash="other") for p in range(6) for k in range(2)], 6, 2)
    with pytest.raises(ValueError, match=r"prompts of 6 problems differ \(the first is problem 0\)"):
        compare([other], [table()])


def test_other_numbers_of_samples_are_not_compared() -> None:
    with pytest.raises(ValueError, match=r"Problems x samples differ: \(6, 3\) and \(6, 2\)"):
        check_comparable(table(samples=3), table())


def test_missing_samples_are_counted_and_named() -> None:
    with pytest.raises(ValueError, match="grpo: 3 of 4 samples are missing"):
        tabulate([sample(0, 0)], 2, 2, "grpo")
    with pytest.raises(ValueError, match="grpo: 3 of 4 samples are missing"):
        tabulate([labelled(0, 0)], 2, 2, "grpo")


def test_samples_that_ended_inside_the_thinking_are_told_apart() -> None:
    inside = sample(0, 0, 0, 20, answer=None, think_length=19)
    closed_twice = sample(0, 1, 0, 20, answer=None, think_length=8)
    cut = sample(1, 0, 0, 20, answer=None, think_length=20, stop_reason="length", finished=False)
    assert describe(tabulate([inside, closed_twice, cut, sample(1, 1)], 2, 2)).ended_thinking == 0.25


def test_the_order_of_samples_does_not_matter() -> None:
    samples = grid(6, 2, lambda p, k: (p + k) % 2, lambda p, k: 10 + p)
    shuffled = random.Random(0).sample(samples, len(samples))
    assert describe(tabulate(shuffled, 6, 2)) == describe(tabulate(samples, 6, 2))


def test_an_oracle_known_for_some_problems_only_is_no_oracle() -> None:
    samples = [sample(0, 0, oracle_length=5), sample(1, 0)]
    assert oracle_tokens(tabulate(samples, 2, 1)) is None
    assert describe(tabulate(samples[:1], 1, 1)).oracle_ratio == 4
