import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from concise_rl.rollout.exits import every, literal, places_of
from concise_rl.rollout.exits.events import SENTENCE_END

PIECES = ["Wait", " Wait", "W", "ait", ",", ".", " ", "\n", "\n\n", ".\n\n", " so", "3.", "5", "!", '"', "Hmm"]
EVENTS = [(literal(("Wait", "Hmm")), True), (literal(("\n\n",)), False), (literal((".\n\n",)), False)]


@given(st.lists(st.sampled_from(PIECES), max_size=40), st.sampled_from([*EVENTS, (SENTENCE_END, False)]))
def test_places_ascend_and_those_of_the_first_tokens_are_the_first_of_all(
    texts: list[str], event: tuple[re.Pattern[str], bool]
) -> None:
    places = places_of(texts, *event)
    assert all(one < next_one for one, next_one in itertools.pairwise([0, *places]))
    for n in range(len(texts)):
        begun = places_of(texts[:n], *event)
        assert begun == places[: len(begun)]


@pytest.mark.parametrize(
    ("texts", "place"),
    [(["So", " 8", ".", " Wait", ","], 3), (["So", " W", "ait"], 1), (["So\nWait"], 0), (["No", "Waiting"], 1)],
)
def test_a_place_lies_before_the_token_in_which_a_word_begins(texts: list[str], place: int) -> None:
    assert places_of(texts, literal(("Wait",)), before=True) == ([place] if place else [])


@pytest.mark.parametrize(
    ("texts", "places"),
    [
        (["It", " is", " 3.5", ".", " So"], [4]),
        (["Yes.", "\n\n", "No", "\n"], [2, 4]),
        (["Yes", ".\n\n", "No"], [2]),
        (["Yes", "."], []),
    ],
)
def test_a_sentence_ends_once_what_follows_shows_it(texts: list[str], places: list[int]) -> None:
    assert places_of(texts, SENTENCE_END) == places


def test_every_so_many_tokens_is_a_place() -> None:
    assert every(7, 3) == [3, 6] and every(2, 3) == []
