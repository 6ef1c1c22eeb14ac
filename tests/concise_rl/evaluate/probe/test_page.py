"""The page of a probe, as a reader's browser shows it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from concise_rl.evaluate.probe.advice import advise
from concise_rl.evaluate.probe.findings import Measured, find
from concise_rl.evaluate.probe.page import Recipe, write_probe_page
from concise_rl.evaluate.probe.probe import Probe
from tests.browser import PHONE
from tests.concise_rl.evaluate.fabric import TOKENIZER, labelled, sample
from tests.concise_rl.evaluate.probe.made import about, measured

THOUGHT = "<think>\n7\nWait, again 7\n</think>\n7"


def samples() -> list[Any]:
    """Right ones with a redundant part, and wrong ones."""
    ids = [*TOKENIZER.encode(THOUGHT, add_special_tokens=False), TOKENIZER.eos_token_id]
    close = ids.index(TOKENIZER.convert_tokens_to_ids("</think>"))
    facts = {"completion_ids": ids, "length": len(ids), "sampled": len(ids), "think_length": close, "text": THOUGHT}
    right = [labelled(p, 0, redundant=close - 4, overshoot=close - 4, **facts) for p in range(3)]
    return right + [sample(p, 1, 0) for p in range(3)]


def page(path: Path, recipe: Recipe | None = None, **changes: Any) -> Path:
    found: Measured = measured(model="tiny:base", task="tiny:sums", **changes)
    findings = find(found)
    write_probe_page(path, Probe(found, findings, advise(found, findings), samples()), recipe)
    return path


@pytest.fixture
def shown(tmp_path: Path, open_page: Callable[..., Any]) -> Any:
    recipe = Recipe(
        Path("mine.yaml"), "objective: decs\n# </pre><script>fail()</script>\n", "concise-rl check mine.yaml"
    )
    return open_page(page(tmp_path / "probe.html", recipe))


def test_the_page_begins_with_what_to_do(shown: Any) -> None:
    assert shown.inner_text("h1") == "Worth training: 60 % of the thinking comes after the answer."
    assert shown.inner_text(".tile b") == "60.0 %"


def test_findings_and_methods_are_all_there(shown: Any) -> None:
    assert shown.locator(".checks li .level.ok").count() == 8
    assert shown.locator(".checks li .level.fits").count() == 8


def test_groups_are_said_in_words_as_well(shown: Any) -> None:
    assert shown.get_attribute(".stack", "aria-label") == "Groups of 8: 50 % all right, 45 % mixed, 5 % all wrong"


def test_the_recipe_is_shown_as_it_is_and_copied(shown: Any) -> None:
    assert "# </pre><script>fail()</script>" in shown.inner_text("#recipe-text")
    shown.click("[data-copies]")
    shown.wait_for_function("document.querySelector('[data-copies]').textContent !== 'Copy'")


def test_a_redundant_part_is_marked_in_the_samples(shown: Any) -> None:
    assert "again 7" in shown.inner_text(".part.redundant").lower()


def test_a_phone_shows_it_without_scrolling_sideways(tmp_path: Path, open_page: Callable[..., Any]) -> None:
    shown = open_page(page(tmp_path / "probe.html", closed=about(0.2), redundant=about(0.2)), PHONE)
    assert shown.evaluate("document.documentElement.scrollWidth") <= PHONE[0]
    assert shown.inner_text("h1").startswith("Look at think_end first")
    assert shown.locator("#recipe").count() == 0


def test_a_page_of_the_same_probe_is_the_same_to_the_byte(tmp_path: Path) -> None:
    assert page(tmp_path / "a.html").read_bytes() == page(tmp_path / "b.html").read_bytes()
