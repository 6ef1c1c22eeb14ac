import pytest

from concise_rl.evaluate.difficulty import by_difficulty
from concise_rl.evaluate.samples import Sample
from concise_rl.evaluate.statistics import Table, tabulate
from tests.concise_rl.evaluate.fabric import labelled, sample


def table(samples: list[Sample]) -> Table:
    return tabulate(samples, len(samples), 1)


def described(*runs: list[Sample]) -> list:
    return by_difficulty([table(run) for run in runs], [table(run) for run in runs])


def test_difficulties_are_in_numeric_order_with_their_own_oracle() -> None:
    groups = described([sample(p, 0, p % 2, 10 * d, difficulty=d, oracle_length=d) for p, d in enumerate([10, 9] * 2)])
    assert [(g.difficulty, g.problems, g.accuracy, g.tokens, g.oracle_tokens, g.oracle_ratio) for g in groups] == [
        (9, 2, 1.0, 90.0, 9.0, 10.0),
        (10, 2, 0.0, 100.0, 10.0, 10.0),
    ]


def test_numbers_in_words_are_ordered_by_their_size_and_numbers_come_before_words() -> None:
    given = ["search 10", "easy", 3, "search 9", 1.5, "10 tries", "9 tries"]
    groups = described([sample(p, 0, difficulty=d) for p, d in enumerate(given)])
    assert [g.difficulty for g in groups] == [1.5, 3, "9 tries", "10 tries", "easy", "search 9", "search 10"]


def test_each_difficulty_has_intervals_over_its_own_problems() -> None:
    lengths = [10, 12, 30, 30, 14, 30]
    groups = described([sample(p, 0, int(p != 4), n, difficulty=int(n == 30)) for p, n in enumerate(lengths)])
    easy, hard = groups
    assert easy.tokens_ci95[0] < 12 < easy.tokens_ci95[1] and hard.tokens_ci95 == pytest.approx((30, 30))
    assert easy.accuracy == pytest.approx(2 / 3) and hard.accuracy_ci95 == pytest.approx((1, 1))


def test_a_difficulty_of_one_problem_has_no_interval() -> None:
    one, *_ = described([sample(p, 0, difficulty=min(p, 1)) for p in range(4)])
    assert (one.accuracy, one.accuracy_ci95, one.tokens_ci95, one.stopped_short.ci95) == (1, None, None, None)


def test_training_seeds_widen_the_intervals_of_the_difficulty_at_which_they_differ() -> None:
    def run(length: int) -> list[Sample]:
        return [sample(p, 0, 1, length if p < 4 else 30, difficulty=int(p >= 4)) for p in range(8)]

    differing, alike = described(run(10), run(20), run(30))
    assert differing.tokens_ci95 == pytest.approx((20 - 24.8, 20 + 24.8), abs=0.2)  # 4.30 * 10 / sqrt(3)
    assert alike.tokens_ci95 == pytest.approx((30, 30))


def test_redundant_and_missing_thinking_are_told_apart_by_difficulty() -> None:
    waste = [labelled(p, 0, redundant=6, overshoot=8, length=30, difficulty=0, oracle_length=20) for p in range(2)]
    short = [sample(p, 0, 0, 12, difficulty=1, oracle_length=20) for p in range(2, 4)]
    easy, hard = described([*waste, *short])
    assert (easy.redundant_tokens.value, easy.stopped_short.value, easy.missing_tokens.value) == (6, 0, None)
    assert (hard.redundant_tokens.value, hard.stopped_short.value, hard.missing_tokens.value) == (None, 1, 8)


def test_where_a_problem_has_no_difficulty_there_are_no_groups() -> None:
    assert described([sample(0, 0, difficulty=1), sample(1, 0)]) == []
