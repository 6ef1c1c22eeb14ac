import pytest

from concise_rl.reading.repeats import new_share


def test_a_line_with_the_numbers_of_an_earlier_line_is_a_repetition() -> None:
    assert new_share("3 + 4 = 7\n3 + 4 = 7\n") == pytest.approx(0.5)


def test_the_same_numbers_in_another_order_are_something_new() -> None:
    assert new_share("3 + 4 = 7\n4 + 3 = 7\n") == 1


def test_words_go_along_with_the_number_that_follows_them_and_the_last_with_the_one_before() -> None:
    assert new_share("7\nWait.\n7\nDone.\n") == pytest.approx(2 / 16)
    assert new_share("7\nDone.\n") == 1


@pytest.mark.parametrize("text", ["", "no number\nat all"])
def test_in_a_text_without_numbers_nothing_can_be_told(text: str) -> None:
    assert new_share(text) is None
