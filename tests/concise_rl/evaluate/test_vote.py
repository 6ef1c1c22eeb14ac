import math

import pytest

from concise_rl.evaluate.samples import Sample
from concise_rl.evaluate.statistics import compare, describe, pool, tabulate
from concise_rl.evaluate.vote import vote
from concise_rl.verify.ballot import ballot
from tests.concise_rl.evaluate.fabric import given_up, sample


def cut(number: int) -> Sample:
    return sample(0, number, 0, 90, answer=None, stop_reason="length", finished=False)


def question(*answers: tuple[str | None, int | None, int]) -> list[Sample]:
    """Samples of one problem that ended by themselves: (answer, verdict, length) of each."""
    return [sample(0, k, correct, length, answer=answer) for k, (answer, correct, length) in enumerate(answers)]


def verdict(samples: list[Sample], keep: int) -> float:
    return float(vote(tabulate(samples, 1, len(samples)), keep).correct_PK[0, 0])


def test_the_first_to_end_gives_the_answer() -> None:
    samples = question(("8", 0, 30), ("7", 1, 20), ("8", 0, 40))
    assert verdict(samples, keep=1) == 1


def test_the_majority_of_the_first_decides_and_later_samples_have_no_say() -> None:
    samples = question(("7", 1, 20), ("8", 0, 30), ("8", 0, 40), ("7", 1, 50), ("7", 1, 60))
    assert verdict(samples, keep=3) == 0
    assert verdict(samples, keep=5) == 1


def test_a_tie_goes_to_the_answer_found_in_the_fewest_tokens() -> None:
    assert verdict(question(("8", 0, 30), ("7", 1, 20)), keep=2) == 1
    assert verdict(question(("8", 0, 20), ("7", 1, 30)), keep=2) == 0


def test_of_two_samples_as_long_as_each_other_the_first_counts() -> None:
    assert verdict(question(("8", 0, 30), ("7", 1, 20), ("9", 0, 20)), keep=1) == 1


def test_a_sample_without_an_answer_takes_a_place_and_does_not_vote() -> None:
    samples = question((None, 0, 10), ("7", 1, 20), ("8", 0, 30), ("8", 0, 40))
    assert verdict(samples, keep=3) == 1
    assert verdict(samples, keep=1) == 0


def test_samples_that_the_cap_cut_do_not_vote() -> None:
    assert verdict([cut(0), sample(0, 1, 1, 95), cut(2)], keep=2) == 1


def test_a_question_on_which_nothing_ended_is_wrong_and_ended_by_the_cap() -> None:
    voted = vote(tabulate([cut(0), cut(1)], 1, 2), keep=1)
    described = describe(voted)
    assert (described.accuracy, described.truncated, described.unjudged) == (0, 1, 0)


def test_votes_are_cast_by_value() -> None:
    samples = question(("7", 0, 20), (r"\boxed{\frac{1}{2}}", 1, 30), ("0.5", 1, 40))
    assert verdict(samples, keep=3) == 1


def test_white_space_does_not_part_answers() -> None:
    assert verdict(question(("8", 0, 20), ("7\n", 1, 30), (" 7", 1, 40)), keep=3) == 1


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (r"So it is \boxed{7}.", r"We get $\boxed{ 7 }$", True),
        (r"\boxed{7}", r"\boxed{8}", False),
        (r"\boxed{7} and \boxed{8}", r"\boxed{8}", False),
        ("7", " 7 ", True),
        (r"\boxed{7}", "7", True),
        (r"\boxed{\frac{1}{2}}", "0.5", True),
        (r"\boxed{0.5}", r"It is \boxed{1/2}.", True),
        (r"\boxed{10{,}080}", "10080", True),
        (r"\boxed{7.0}", r"\boxed{7}", True),
        (r"\boxed{50\%}", r"\boxed{50}", False),
        ("The answer is 7.", "**7**", True),
        (r"\boxed{x+1}", r"\boxed{x + 1}", True),
        ("", "", True),
    ],
)
def test_answers_are_compared_by_the_value_of_their_boxes_or_last_claims(one: str, other: str, same: bool) -> None:
    assert (ballot(one) == ballot(other)) is same


def test_an_answer_that_one_judge_failed_on_has_the_verdict_of_another() -> None:
    assert verdict(question(("7", None, 20), ("7", 1, 30)), keep=2) == 1


def test_an_answer_on_which_every_judge_failed_has_no_verdict() -> None:
    samples = question(("7", None, 20), ("7", None, 30), ("8", 0, 40))
    assert math.isnan(verdict(samples, keep=3))
    assert describe(vote(tabulate(samples, 1, 3), keep=3)).unjudged == 1


def test_a_question_costs_the_tokens_of_all_its_samples() -> None:
    samples = [sample(0, 0, 1, 20), given_up(0, 1, 25), given_up(0, 2, 25), sample(0, 3, 0, 24, answer="8")]
    voted = vote(tabulate(samples, 1, 4), keep=1)
    assert (voted.length_PK.tolist(), voted.think_length_PK.tolist()) == ([[94]], [[78]])
    assert (voted.correct_PK.tolist(), voted.answer_PK.tolist(), voted.stop_PK.tolist()) == ([[1]], [["7"]], [["eos"]])


def test_problems_keep_their_order_difficulty_and_oracle() -> None:
    samples = [sample(p, k, p % 2, 20, difficulty=p, oracle_length=9) for p in range(3) for k in range(2)]
    voted = vote(tabulate(samples, 3, 2), keep=1)
    assert voted.correct_PK.tolist() == [[0], [1], [0]]
    assert (voted.difficulty_P, voted.oracle_P.tolist()) == ((0, 1, 2), [9, 9, 9])


def test_questions_of_several_runs_are_pooled_and_compared_like_samples() -> None:
    good = vote(tabulate([sample(p, k, 1, 20) for p in range(3) for k in range(2)], 3, 2), keep=1)
    bad = vote(tabulate([sample(p, k, 0, 40) for p in range(3) for k in range(2)], 3, 2), keep=1)
    comparison = compare([good, bad], [bad])
    assert pool([good, bad]).length_PK.tolist() == [[40, 80]] * 3
    assert (comparison.token_savings.value, comparison.accuracy_change.value) == (0.25, 0.5)
