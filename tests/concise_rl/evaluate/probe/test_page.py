"""The page of a probe, as a reader's browser shows it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from concise_rl.evaluate.evaluation import Evaluation, read_evaluation
from concise_rl.evaluate.probe.advice import advise
from concise_rl.evaluate.probe.findings import find
from concise_rl.evaluate.probe.page import Recipe, write_probe_page
from concise_rl.evaluate.probe.probe import Probe
from tests.browser import PHONE
from tests.concise_rl.evaluate.fabric import sample, write_evaluation
from tests.concise_rl.evaluate.probe.made import about, measured

THOUGHT = "<think>\n7\nWait, again 7\n</think>\n7"


def evaluation(folder: Path) -> Evaluation:
    """Three problems, each with a right sample that has a redundant part, and a wrong one."""
    labels = {"passages": 2, "first": 0, "redundant": 8, "overshoot": 8, "redundant_at": THOUGHT.index("Wait")}
    right = [sample(p, 0, labels=labels, text=THOUGHT) for p in range(3)]
    wrong = [sample(p, 1, 0) for p in range(3)]
    write_evaluation(folder, None, ("tiny-base", right + wrong), problems=3, samples=2)
    return read_evaluation(folder)


def page(folder: Path, recipe: Recipe | None = None, **changes: Any) -> Path:
    found = measured(model="tiny:base", task="tiny:sums", **changes)
    findings = find(found)
    probe = Probe(found, findings, advise(found, findings), evaluation(folder))
    write_probe_page(folder / "probe.html", probe, recipe)
    return folder / "probe.html"


@pytest.fixture
def shown(tmp_path: Path, open_page: Callable[..., Any]) -> Any:
    text = "objective: decs\n# </pre><script>fail()</script>\n"
    recipe = Recipe(Path("mine.yaml"), text, "concise-rl check mine.yaml", "concise-rl train mine.yaml")
    return open_page(page(tmp_path, recipe))


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
    shown.click("button.copy >> nth=0")
    # Not wait_for_function: where it has to wait it evaluates text, which the page forbids.
    shown.wait_for_selector("button.copy:not(:text-is('Copy'))")


def test_a_redundant_part_is_marked_in_the_samples(shown: Any) -> None:
    assert "again 7" in shown.inner_text(".part.redundant").lower()


def test_a_phone_shows_it_without_scrolling_sideways(tmp_path: Path, open_page: Callable[..., Any]) -> None:
    shown = open_page(page(tmp_path, closed=about(0.2), redundant=about(0.2)), PHONE)
    assert shown.evaluate("document.documentElement.scrollWidth") <= PHONE[0]
    assert shown.inner_text("h1").startswith("Look at think_end first")
    assert shown.locator("#recipe").count() == 0


def test_a_page_of_the_same_probe_is_the_same_to_the_byte(tmp_path: Path) -> None:
    assert page(tmp_path / "a").read_bytes() == page(tmp_path / "b").read_bytes()
