import base64
import gzip
import json
import random
import string
from pathlib import Path
from typing import Any

import pytest

from concise_rl.output.pages.parts import Part, cut_text
from concise_rl.output.pages.samples import Category, Text, browser_data
from tests.browser import PHONE, OpenPage, overflow
from tests.concise_rl.output.pages.test_pages import demo, samples

MANY = 10_000


def unpacked(data: dict[str, Any]) -> list[list[Part]]:
    """The parts of each text, as the page's script gets them."""
    chunks = [json.loads(gzip.decompress(base64.b64decode(packed))) for _, packed in data["chunks"]]
    return [[Part(kind, text) for kind, text in parts] for chunk in chunks for parts in chunk]


def noise(length: int, seed: int) -> str:
    return "".join(random.Random(seed).choices(string.ascii_letters, k=length))


def packed(texts: list[str], budget: int, redundant_at: int | None = None) -> dict[str, Any]:
    written = [Text("?", None, cut_text(text, "</think>", redundant_at)) for text in texts]
    return browser_data([Category("x", "x", ["x"] * len(texts))], written, [0] * len(texts), budget=budget)


def test_texts_come_back_whole_from_their_chunks() -> None:
    texts = [f"<think>{noise(60_000, i)}</think>{i}" for i in range(10)]
    data = packed(texts, budget=10_000_000)
    assert len(data["chunks"]) == 3 and data["shortened"] == 0
    assert ["".join(part.text for part in parts) for parts in unpacked(data)] == texts


def test_beyond_the_budget_long_texts_keep_head_tail_and_where_the_answer_is_stated() -> None:
    short = "<think>short</think>1"
    long = "HEAD" + noise(60_000, 1) + "STATED" + noise(60_000, 2) + "</think>TAIL"
    data = packed([short, long], budget=30_000, redundant_at=60_010)
    assert sum(len(chunk) for _, chunk in data["chunks"]) <= 30_000
    assert data["shortened"] == 1
    first, second = unpacked(data)
    assert "".join(part.text for part in first) == short
    kept = "".join(part.text for part in second if part.kind != "omitted")
    assert kept.startswith("HEAD") and "STATED" in kept and kept.endswith("TAIL")
    assert [part.kind for part in second] == [
        *("thinking", "omitted", "thinking", "redundant", "omitted", "redundant", "delimiter", "answer")
    ]


def test_what_is_left_out_is_counted() -> None:
    text = noise(100_000, 0)
    (parts,) = unpacked(packed([text], budget=10_000))
    kept = sum(len(part.text) for part in parts if part.kind != "omitted")
    assert [part.text for part in parts if part.kind == "omitted"] == [
        f"{100_000 - kept:,} characters are left out of this page"
    ]


def test_no_samples_make_an_empty_browser(tmp_path: Path, open_page: OpenPage) -> None:
    page = open_page(demo(tmp_path / "page.html", count=0))
    assert page.get_by_text("No sample is like that.").is_visible()


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return demo(tmp_path_factory.mktemp("small") / "page.html")


def said(page: Any) -> str:
    return page.locator(".browser [role=status]").inner_text()


def rows(page: Any) -> Any:
    return page.locator(".rows .row")


def chosen(page: Any) -> int:
    """Number of the sample that is shown, once its text is there."""
    (row,) = page.locator(".browser [aria-selected=true]").all()
    index = int(row.get_attribute("id").rpartition("-")[2])
    page.get_by_text(f"first {index}\n", exact=False).wait_for()
    return index


def test_filters_leave_the_samples_that_are_like_that(small: Path, open_page: OpenPage) -> None:
    page = open_page(small)
    assert said(page) == "40 samples"
    page.get_by_label("verdict").select_option("wrong")
    assert said(page) == "10 of 40 samples"
    assert chosen(page) == 1
    page.get_by_label("model").select_option("grpo")
    assert said(page) == "0 of 40 samples"
    assert page.get_by_text("No sample is like that.").is_visible()
    page.get_by_role("button", name="Show all samples again").click()
    assert said(page) == "40 samples"


def test_the_search_looks_at_problems(small: Path, open_page: OpenPage) -> None:
    page = open_page(small)
    page.get_by_label("Search the problems").fill("IS 3?")
    assert said(page) == "4 of 40 samples"
    assert chosen(page) == 12


def test_samples_are_ordered_by_a_number_and_those_without_it_are_left_out(small: Path, open_page: OpenPage) -> None:
    page = open_page(small)
    page.get_by_label("order").select_option(label="order: most redundant")
    assert said(page) == "30 of 40 samples"
    rows(page).first.click()
    assert chosen(page) == 39
    page.get_by_label("order").select_option(label="order: least tokens")
    rows(page).first.click()
    assert chosen(page) == 0


def test_the_redundant_part_is_labelled(small: Path, open_page: OpenPage) -> None:
    page = open_page(small)
    assert page.locator(".detail .redundant").inner_text().splitlines() == [
        "REDUNDANT: AFTER THE ANSWER WAS FIRST STATED",
        "again",
    ]


def test_keys_step_search_and_help(small: Path, open_page: OpenPage) -> None:
    page = open_page(small)
    for key, index in (("j", 1), ("j", 2), ("k", 1), ("g", 2)):
        page.keyboard.press(key)
        assert chosen(page) == index
    page.locator(".list").focus()
    page.keyboard.press("ArrowDown")
    assert chosen(page) == 3
    page.keyboard.press("End")
    assert chosen(page) == 39
    page.keyboard.press("/")
    page.keyboard.type("is 3j")
    assert said(page) == "0 of 40 samples"
    page.keyboard.press("Escape")
    assert said(page) == "40 samples"
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    assert page.get_by_role("dialog").is_visible()
    page.keyboard.press("Escape")
    assert not page.get_by_role("dialog").is_visible()


def test_a_view_can_be_linked(small: Path, open_page: OpenPage) -> None:
    page = open_page(small)
    page.get_by_label("verdict").select_option("wrong")
    page.get_by_label("order").select_option(label="order: most tokens")
    page.keyboard.press("j")
    index, address = chosen(page), page.evaluate("location.hash")
    other = open_page(small, address=address)
    assert (chosen(other), said(other)) == (index, "10 of 40 samples")
    assert other.get_by_label("order").input_value() == "tokens-most"
    assert 0 <= other.locator(".browser").bounding_box()["y"] < 200


def test_an_address_of_nonsense_shows_all(small: Path, open_page: OpenPage) -> None:
    page = open_page(small, address="#samples?verdict=no&at=999999&sort=x")
    assert said(page) == "40 samples"
    assert chosen(page) == 39


def test_the_browser_fits_a_phone(small: Path, open_page: OpenPage) -> None:
    page = open_page(small, PHONE)
    assert overflow(page) == 0
    rows(page).nth(3).click()
    assert chosen(page) == 3


def test_ten_thousand_samples_open_at_once_and_filter_at_once(tmp_path: Path, open_page: OpenPage) -> None:
    path = demo(tmp_path / "page.html", count=MANY)
    page = open_page(path)
    assert said(page) == "10,000 samples"
    # Milliseconds from the start of loading; about 300 on an idle core. The slack is for a busy one.
    assert float(page.locator(".browser").get_attribute("data-ready")) < 3000
    filtered = """() => {
        const select = document.querySelector(".browser select"), start = performance.now();
        select.value = "grpo";
        select.dispatchEvent(new Event("change"));
        return performance.now() - start;
    }"""
    assert page.evaluate(filtered) < 500
    assert said(page) == "5,000 of 10,000 samples"
    assert rows(page).count() < 60  # only those in sight are there
    page.locator(".list").focus()
    page.keyboard.press("End")
    assert chosen(page) == MANY - 2


def test_a_sample_is_shown_with_the_one_beside_it(tmp_path: Path, open_page: OpenPage) -> None:
    data = samples(8)
    data["beside"] = [None, 0, *[None] * 6]
    page = open_page(demo(tmp_path / "page.html", samples=data), address="#samples?at=1")
    page.locator(".detail .trace").nth(1).wait_for()
    assert page.locator(".detail .trace").count() == 2
    assert "baseline" in page.locator(".detail .facts").first.inner_text()
    assert "grpo" in page.locator(".detail .facts").last.inner_text()
