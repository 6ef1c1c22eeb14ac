"""How replies look: on terminals of several widths, and in pipes."""

import io
import re
from collections.abc import Generator
from dataclasses import replace

import pytest
from rich.console import Console

from concise_rl.evaluate.ask.listening import Listening
from concise_rl.evaluate.ask.reply import Reader
from concise_rl.evaluate.ask.show import Plain, Screen, Tail
from concise_rl.verify.pool import VerifierPool
from tests.concise_rl.evaluate.ask.test_reply import (
    CHECK,
    DELIMITERS,
    KNOWN,
    PASS,
    RIGHT,
    TOKENIZER,
    UNKNOWN,
    WRONG,
    count,
    reply_to,
)

CODES = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


@pytest.fixture(scope="module")
def reader() -> Generator[Reader]:
    with VerifierPool("math") as pool:
        yield Reader.of(TOKENIZER, DELIMITERS, pool)


def screen_of(width: int, *titles: str, **settings: object) -> Screen:
    console = Console(file=io.StringIO(), force_terminal=True, width=width, height=24, **settings)  # type: ignore[arg-type]
    return Screen(console, KNOWN, titles)


def shown(screen: Screen) -> str:
    return screen.console.file.getvalue()  # type: ignore[attr-defined]


def in_the_end(screen: Screen, reader: Reader, *texts: str) -> list[str]:
    """The lines that are left on the screen, of a run in which nothing grows."""
    with screen:
        for title, text in zip(screen.titles, texts, strict=True):
            screen.has(replace(reply_to(reader, text), model=title))
    return CODES.sub("", shown(screen)).splitlines()


@pytest.mark.parametrize(("width", "side_by_side"), [(40, False), (75, False), (76, True), (120, True)])
def test_two_models_stand_side_by_side_where_there_is_room(reader: Reader, width: int, side_by_side: bool) -> None:
    lines = in_the_end(screen_of(width, "one", "two"), reader, RIGHT, f"{PASS}</think>\n1")
    assert any(line.startswith("one ") and "two " in line for line in lines) is side_by_side
    assert all(len(line.rstrip()) <= width for line in lines)


def test_what_is_redundant_is_dim_and_a_rule_says_so(reader: Reader) -> None:
    screen = screen_of(80, "one")
    lines = in_the_end(screen, reader, RIGHT)
    rule = next(i for i, line in enumerate(lines) if line.startswith("answer stated, rest redundant"))
    assert (lines[rule - 1], lines[rule + 1].strip()) == ("So 1.", "Wait, let me check.")
    assert "\x1b[2mWait, let me check." in shown(screen) and "\x1b[2mSo 1." not in shown(screen)


def test_a_wrong_reply_is_not_dimmed_and_a_rule_says_where_it_was_right(reader: Reader) -> None:
    screen = screen_of(80, "one")
    lines = in_the_end(screen, reader, WRONG)
    assert any(line.startswith("right answer stated ───") for line in lines)
    assert "\x1b[2mWait" not in shown(screen)


def test_without_colour_there_is_none(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    screen = screen_of(80, "one", color_system="truecolor")
    in_the_end(screen, reader, RIGHT)
    assert set(re.findall(r"\x1b\[([\d;]*)m", shown(screen))) <= {"0", "1", "2", ""}


def test_of_a_long_name_the_end_is_shown(reader: Reader) -> None:
    lines = in_the_end(screen_of(80, "org/a-rather-long-name-of-a-model", "two"), reader, RIGHT, WRONG)
    shown_as = "\u2026rather-long-name-of-a-model"
    assert sum(line.startswith(shown_as) for line in lines) == 2, "over its column, and beside its bar"


def test_text_that_looks_like_markup_is_shown_as_it_is(reader: Reader) -> None:
    lines = in_the_end(screen_of(80, "one"), reader, "<think>\n{ 1 } * 2\n</think>\n1")
    assert "{ 1 } * 2" in "\n".join(lines)


def test_a_growing_reply_shows_its_last_lines(reader: Reader) -> None:
    console = Console(file=io.StringIO(), width=30)
    listening = Listening(reader, KNOWN)
    listening.heard(TOKENIZER.encode(RIGHT, add_special_tokens=False))
    listening.look()
    console.print(Tail(listening.parts(), gold=True, room=3))
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert len(lines) == 3 and lines[-1].strip() == "1" and lines[-2].startswith("answer ──")


def test_the_mark_waits_for_a_whole_passage(reader: Reader) -> None:
    listening = Listening(reader, KNOWN)
    listening.heard(TOKENIZER.encode(PASS, add_special_tokens=False))
    listening.look()
    assert listening.stated_at is None, "it may still go on"
    listening.heard(TOKENIZER.encode("Wait", add_special_tokens=False))
    listening.look()
    assert listening.stated_at == count(PASS)


def test_an_interrupted_reply_is_shown_as_far_as_it_came(reader: Reader) -> None:
    screen = screen_of(80, "one")
    listening = Listening(reader, KNOWN)
    listening.heard(TOKENIZER.encode(PASS, add_special_tokens=False))
    with pytest.raises(KeyboardInterrupt), screen:
        screen.loads("one")
        screen.listens(listening)
        raise KeyboardInterrupt
    left = CODES.sub("", shown(screen)).splitlines()
    said = f"broken off after {count(PASS)} tokens"
    assert {"So 1.", said} <= {line.strip() for line in left}


def test_a_pipe_gets_plain_text_with_marks(reader: Reader) -> None:
    file = io.StringIO()
    with Plain(file) as view:
        view.has(reply_to(reader, RIGHT))
        view.has(reply_to(reader, WRONG))
        view.has(reply_to(reader, RIGHT, UNKNOWN))
    text = file.getvalue()
    assert "\x1b" not in text
    assert f"{PASS}[redundant: {CHECK}]</think>\n1\n\nright\n" in text
    assert f"{PASS}[right answer stated] {CHECK}</think>\n2\n\nwrong" in text
    assert f"{PASS}[behind its own answer: {CHECK}]</think>\n1\n\nnot graded" in text
