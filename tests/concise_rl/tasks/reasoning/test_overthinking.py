"""The generator of traces: one pass, slips, re-checks."""

import random

import pytest

from concise_rl.tasks.reasoning.overthinking import (
    Habits,
    Slips,
    Voice,
    near,
    overthinking_completion,
    shortest_completion,
)

VOICE = Voice(result="So {}.\n", cues=("Again.",), agrees="Yes, {}.\n", differs="No, {}.\n")


def count_to_three(slips: Slips) -> tuple[str, str]:
    total = 0
    for _ in range(3):
        total = slips(total + 1, near(total + 1))
    return f"1 2 {total}\n", str(total)


def drawn(habits: Habits, count: int = 400) -> list[str]:
    rng = random.Random(0)
    return [overthinking_completion(count_to_three, VOICE, habits, rng) for _ in range(count)]


def test_the_shortest_completion_is_one_pass_and_the_answer() -> None:
    assert shortest_completion(count_to_three) == "<think>\n1 2 3\n</think>\n3"


def test_without_slips_every_trace_repeats_its_pass_and_ends_with_the_right_answer() -> None:
    for text in drawn(Habits(first_slip=0, check_slip=0, no_check=0, max_checks=2)):
        once = "Again.\n1 2 3\nYes, 3.\n"
        assert text in (f"<think>\n1 2 3\nSo 3.\n{once * checks}</think>\n3" for checks in (1, 2))


def test_the_share_of_traces_that_stop_after_the_first_pass_is_the_one_asked_for() -> None:
    texts = drawn(Habits(no_check=0.25), count=2000)
    assert sum("So" not in text for text in texts) / 2000 == pytest.approx(0.25, abs=0.03)


def test_slips_are_as_frequent_as_asked_for() -> None:
    slips = Slips(random.Random(0), 0.1)
    assert sum(slips(0, [1]) for _ in range(5000)) / 5000 == pytest.approx(0.1, abs=0.015)


def test_a_step_that_has_no_plausible_wrong_result_cannot_slip() -> None:
    slips = Slips(random.Random(0), 1.0)
    assert [slips("right", []) for _ in range(20)] == ["right"] * 20


def test_a_slip_of_the_first_pass_is_corrected_by_checks_that_never_slip() -> None:
    texts = drawn(Habits(first_slip=0.2, check_slip=0, no_check=0))
    assert sum("No, 3." in text for text in texts) > 100
    assert all(text.endswith("</think>\n3") for text in texts)


def test_a_check_that_disagrees_is_itself_checked() -> None:
    for text in drawn(Habits(first_slip=0.3, check_slip=0.2, no_check=0, max_checks=1)):
        last = text.splitlines()[-3]
        assert last.startswith("Yes")


def test_the_same_seed_gives_the_same_traces() -> None:
    assert drawn(Habits()) == drawn(Habits())


@pytest.mark.parametrize(
    ("habits", "message"),
    [
        ({"first_slip": 1.5}, "first_slip is a probability"),
        ({"no_check": -0.1}, "no_check is a probability"),
        ({"check_slip": 0.9}, "check_slip is at most 0.5"),
        ({"max_checks": 0}, "For none at all: no_check=1"),
    ],
)
def test_habits_that_make_no_sense_are_refused(habits: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Habits(**habits)
