"""The evaluation's page, opened in a browser."""

import json
from pathlib import Path
from typing import Any

import pytest

from concise_rl.evaluate.report import write_report
from concise_rl.evaluate.samples import Sample
from concise_rl.evaluate.training import training_path
from tests.browser import PHONE, OpenPage, overflow
from tests.concise_rl.evaluate.fabric import sample, write_evaluation

PROBLEMS, SAMPLES = 5, 2
FIRST, AGAIN = "<think>\nSo 7.\n", "Wait, 7.\n"


def thinker(problem: int, number: int, correct: int, again: int, **fields: Any) -> Sample:
    """A sample that goes on for some lines after it has stated the answer."""
    text = f"{FIRST}{AGAIN * again}</think>\n7"
    labels = {
        "passages": 1 + again,
        "first": 0,
        "redundant": 4 * again,
        "overshoot": 4 * again,
        "redundant_at": len(FIRST) if again else None,
    }
    about = {"labels": labels, "reflections": again} if correct else {}
    return sample(problem, number, correct, 10 + 4 * again, text=text, **(about | fields))


def samples_of(again: int, wrong: int, **fields: Any) -> list[Sample]:
    return [
        thinker(p, k, int((p, k) != (wrong, 0)), again + p, **fields) for p in range(PROBLEMS) for k in range(SAMPLES)
    ]


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A method that is right where the baseline is wrong, and the other way round; it was trained for three steps."""
    folder = tmp_path_factory.mktemp("evaluation")
    models = [("grpo", samples_of(0, wrong=2)), ("grpo", samples_of(1, wrong=2)), ("other", samples_of(2, wrong=0))]
    manifest = write_evaluation(
        folder, samples_of(5, wrong=1), *models, problems=PROBLEMS, samples=SAMPLES, judge="rule"
    )
    path = training_path(manifest.models[0].samples_path(folder))
    path.parent.mkdir()
    path.write_text(json.dumps({"correct/mean": {"steps": [1, 2, 3], "values": [0.5, 0.6, 0.75]}}))
    write_report(folder)
    return folder / "report.html"


def said(page: Any) -> str:
    return page.locator(".browser [role=status]").inner_text()


def test_what_turned_from_right_to_wrong_is_found(report: Path, open_page: OpenPage) -> None:
    page = open_page(report)
    assert said(page) == "40 samples"
    page.get_by_label("against baseline").select_option("right to wrong")
    assert said(page) == "3 of 40 samples"
    page.get_by_label("against baseline").select_option("wrong to right")
    page.get_by_label("model").select_option("other")
    assert said(page) == "1 of 40 samples"
    shown = page.locator("#samples .trace")
    assert "↑ wrong to right" in shown.nth(0).inner_text() and "✗ wrong" in shown.nth(1).inner_text()


def test_the_most_redundant_sample_comes_with_its_redundant_part_marked(report: Path, open_page: OpenPage) -> None:
    page = open_page(report, address="#samples?model=baseline&sort=redundant-most&at=32")
    assert said(page) == "9 of 40 samples"
    redundant = page.locator("#samples .trace .redundant").inner_text()
    assert redundant.startswith("REDUNDANT") and redundant.count("Wait, 7.") == 9


def test_results_are_sorted_with_the_runs_of_a_label_below_it(report: Path, open_page: OpenPage) -> None:
    page = open_page(report)
    page.locator("th", has_text="tokens").first.get_by_role("button").click()
    first = page.locator("table").first
    labels = [text.strip() for text in first.locator("tbody tr > :first-child").all_inner_texts()]
    assert labels == ["baseline", "other", "grpo", "run 1", "run 2"]


def test_the_training_stands_beside_the_results(report: Path, open_page: OpenPage) -> None:
    page = open_page(report)
    assert page.locator(".plot").get_attribute("aria-label") == (
        "Right answers in training: grpo from 50.0 % to 75.0 %"
    )


def test_the_page_fits_a_phone(report: Path, open_page: OpenPage) -> None:
    assert overflow(open_page(report, PHONE)) == 0


def test_the_page_marks_nothing_where_places_were_not_kept_and_says_so(tmp_path: Path) -> None:
    old = thinker(0, 0, 1, 3)
    assert old.labels is not None
    old = old.model_copy(update={"labels": old.labels.model_copy(update={"redundant_at": None})})
    write_evaluation(tmp_path, None, ("grpo", [old]), problems=1, samples=1, judge="rule")
    write_report(tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert "Of 1 samples the redundant part cannot be marked" in page and 'class="part redundant"' not in page
