"""Find what a text works out anew, and what it only goes over again."""

import re

_NUMBER = re.compile(r"\d+(?:\.\d+)?")


def new_share(text: str) -> float | None:
    """Measure the share of a text's characters in lines that repeat no earlier line: lines with the same numbers in the
    same order are repetitions.

    A line without a number goes along with the next line that has one: `Wait, let me check that.` belongs to the check.
    Lines behind the last number go along with that line.

    Returns:
        A share from 0 to 1; None for a text without any number, in which nothing can be told.
    """
    seen: set[tuple[str, ...]] = set()
    new = pending = 0
    is_new = False
    for line in text.splitlines(keepends=True):
        numbers = tuple(_NUMBER.findall(line))
        pending += len(line)
        if numbers:
            is_new = numbers not in seen
            seen.add(numbers)
            new, pending = new + pending * is_new, 0
    return (new + pending * is_new) / len(text) if seen else None
