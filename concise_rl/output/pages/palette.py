"""The colours of every page and figure, light and dark, in one place."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Shade:
    """One colour on light paper and on dark paper, as hexadecimal RGB."""

    light: str
    dark: str


INK = Shade("#1c2733", "#e6ebf0")
MUTED = Shade("#5c6873", "#98a5b1")
GRID = Shade("#e3e7eb", "#2a333c")
PAPER = Shade("#fefefe", "#12171d")
SERIES = (
    Shade("#7b8794", "#93a1ae"),
    Shade("#2c6fbb", "#6aa9ee"),
    Shade("#d1622b", "#f0915f"),
    Shade("#1b8a6b", "#4fc3a1"),
    Shade("#8a5bb5", "#b791de"),
    Shade("#b03a6f", "#e079a8"),
    Shade("#8c7a1f", "#cdb84f"),
)
"""The baseline's grey, then one colour for each method; told apart by eyes with any kind of colour vision."""
SHADES = {
    "ink": INK,
    "muted": MUTED,
    "grid": GRID,
    "paper": PAPER,
    "panel": Shade("#f6f8f9", "#1a2129"),
    "line": Shade("#c3ccd4", "#45515c"),
    "accent": Shade("#1f5ea8", "#7db4f0"),
    "chosen": Shade("#e4eefa", "#1d3149"),
    "think": Shade("#eef3f8", "#1b2733"),
    "redundant": Shade("#8a5a00", "#e0b25c"),
    "answer": Shade("#e3f4ea", "#143024"),
    "answer-ink": Shade("#14532d", "#a7e8c3"),
    "good": Shade("#14693a", "#7fd6a2"),
    "bad": Shade("#ab2f2f", "#f09a90"),
    "warn": Shade("#fdf3dc", "#33290f"),
    "warn-ink": Shade("#6b4a05", "#f0d58c"),
    **{f"series-{i}": shade for i, shade in enumerate(SERIES)},
}
"""Every colour of a page by the name of its CSS variable, without the dashes in front."""


def color_index(index: int) -> int:
    """Return which of `SERIES` a label has: 0 is the baseline, then the methods in order, again and again."""
    return index if index == 0 else 1 + (index - 1) % (len(SERIES) - 1)


def css_variables() -> str:
    """Write the colours as declarations of CSS variables; `color-scheme` decides which of the two applies."""
    return "\n".join(f"  --{name}: light-dark({shade.light}, {shade.dark});" for name, shade in SHADES.items())
