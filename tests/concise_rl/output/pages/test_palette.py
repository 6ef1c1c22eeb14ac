import pytest

from concise_rl.output.pages.palette import SERIES, SHADES, Shade, color_index

READ = [
    *((name, "paper") for name in ("ink", "muted", "accent", "redundant", "good", "bad")),
    *((name, "panel") for name in ("ink", "muted", "redundant")),
    *(("ink", back) for back in ("think", "chosen")),
    *((name, "chosen") for name in ("good", "bad", "muted")),
    ("muted", "think"),
    ("answer-ink", "answer"),
    ("warn-ink", "warn"),
]


def luminance(color: str) -> float:
    """Relative luminance, as WCAG 2 defines it."""
    shares = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (s / 12.92 if s <= 0.04045 else ((s + 0.055) / 1.055) ** 2.4 for s in shares)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize(("text", "back"), READ)
def test_text_is_read_on_its_background_in_both_themes(text: str, back: str) -> None:
    """4.5 is what WCAG 2 asks of text."""
    front, behind = SHADES[text], SHADES[back]
    assert contrast(front.light, behind.light) >= 4.5
    assert contrast(front.dark, behind.dark) >= 4.5


@pytest.mark.parametrize("shade", SERIES)
def test_marks_and_curves_stand_out_from_the_paper(shade: Shade) -> None:
    """3 is what WCAG 2 asks of graphics."""
    assert contrast(shade.light, SHADES["paper"].light) >= 3
    assert contrast(shade.dark, SHADES["paper"].dark) >= 3


def test_the_baseline_alone_has_the_first_colour() -> None:
    assert [color_index(i) for i in range(9)] == [0, 1, 2, 3, 4, 5, 6, 1, 2]
