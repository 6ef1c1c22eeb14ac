import pytest

from concise_rl.evaluate.overthinking import describe_thinking
from concise_rl.evaluate.samples import Sample
from concise_rl.evaluate.statistics import pool, tabulate
from tests.concise_rl.evaluate.fabric import given_up, labelled, sample


def described(*samples: Sample, problems: int, numbers: int = 1):
    return describe_thinking(tabulate(samples, problems, numbers))


def test_the_prefix_the_redundant_tokens_and_the_overshoot_are_those_of_samples_that_state_the_answer() -> None:
    found = described(
        labelled(0, 0, passages=4, first=0, redundant=8, overshoot=10),
        labelled(1, 0, passages=2, first=1, redundant=0, overshoot=2),
        labelled(2, 0, passages=3, first=None),
        sample(3, 0, correct=0, reflections=2),
        problems=4,
    )
    assert found.necessary_prefix.value == (1 / 4 + 2 / 2) / 2
    assert (found.redundant_tokens.value, found.overshoot.value) == (4, 6)
    assert found.states_answer.value == pytest.approx(2 / 3)
    assert found.labelled == 3


def test_reflections_are_those_of_all_samples_but_those_given_up() -> None:
    samples = [sample(0, 0, reflections=1), sample(0, 1, correct=0, reflections=4), given_up(0, 2)]
    assert described(*samples, problems=1, numbers=3).reflections.value == 2.5


def test_problems_weigh_the_same_however_many_of_their_samples_state_the_answer() -> None:
    samples = [labelled(0, 0, redundant=10, overshoot=10), labelled(0, 1, redundant=10, overshoot=10)]
    samples += [labelled(1, 0, redundant=4, overshoot=4), sample(1, 1, correct=0)]
    assert described(*samples, problems=2, numbers=2).redundant_tokens.value == 7


def test_every_number_has_its_interval() -> None:
    samples = [labelled(p, 0, passages=8, first=p % 4, redundant=p, overshoot=p + 1, reflections=p) for p in range(9)]
    found = described(*samples, problems=9)
    for estimate in (found.reflections, found.necessary_prefix, found.redundant_tokens, found.overshoot):
        assert estimate.value is not None and estimate.ci95 is not None
        assert estimate.ci95[0] < estimate.value < estimate.ci95[1]


def test_samples_that_nobody_read_give_no_numbers() -> None:
    found = described(sample(0, 0), sample(1, 0), problems=2)
    assert {found.reflections.value, found.states_answer.value, found.redundant_tokens.value} == {None}
    assert found.labelled == 0


def test_runs_of_a_label_are_pooled() -> None:
    runs = [tabulate([labelled(0, 0, redundant=n, overshoot=n)], 1, 1) for n in (2, 6)]
    assert describe_thinking(pool(runs)).redundant_tokens.value == 4
    assert describe_thinking(pool(runs)).labelled == 2
