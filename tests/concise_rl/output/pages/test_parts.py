import pytest
from hypothesis import given
from hypothesis import strategies as st

from concise_rl.output.pages.parts import Part, cut_text, shorten

TEXT = "<think>\n7\nWait, 7\n</think>\n7"


def kinds(parts: list[Part]) -> list[str]:
    return [part.kind for part in parts]


def test_a_completion_is_thinking_delimiter_and_answer() -> None:
    assert cut_text(TEXT, "</think>") == [
        Part("thinking", "<think>\n7\nWait, 7\n"),
        Part("delimiter", "</think>"),
        Part("answer", "\n7"),
    ]


def test_thinking_is_cut_where_its_redundant_part_begins() -> None:
    assert cut_text(TEXT, "</think>", TEXT.index("Wait"))[:2] == [
        Part("thinking", "<think>\n7\n"),
        Part("redundant", "Wait, 7\n"),
    ]


@pytest.mark.parametrize("redundant_at", [TEXT.index("</think>"), len(TEXT)])
def test_nothing_behind_the_thinking_is_redundant(redundant_at: int) -> None:
    assert kinds(cut_text(TEXT, "</think>", redundant_at)) == ["thinking", "delimiter", "answer"]


def test_thinking_that_is_never_closed_is_all_there_is() -> None:
    assert cut_text("<think>\n7", "</think>") == [Part("thinking", "<think>\n7")]


def test_a_model_that_does_not_think_answers() -> None:
    assert cut_text("7", None) == [Part("answer", "7")]


def test_an_empty_completion_has_no_parts() -> None:
    assert cut_text("", "</think>") == cut_text("", None) == []


PIECES = st.text("ab\n<", max_size=20)


@given(PIECES, PIECES, st.integers(0, 80))
def test_the_parts_joined_are_the_text(before: str, behind: str, at: int) -> None:
    text = f"{before}</think>{behind}"
    parts = cut_text(text, "</think>", at)
    assert "".join(part.text for part in parts) == text
    assert all(part.text for part in parts)


@given(st.integers(0, 300), st.integers(1, 400))
def test_a_shortened_text_is_about_as_long_as_asked(redundant_at: int, limit: int) -> None:
    text = "x" * 300 + "</think>7"
    parts = shorten(cut_text(text, "</think>", redundant_at), limit)
    kept = sum(len(part.text) for part in parts if part.kind != "omitted")
    assert kept <= limit
    if limit >= len(text):
        assert kept == len(text) and "omitted" not in kinds(parts)
    else:
        assert "omitted" in kinds(parts)
