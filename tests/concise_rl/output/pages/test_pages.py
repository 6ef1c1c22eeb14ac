import json
import re
from pathlib import Path
from typing import Any

import pytest

from concise_rl.output.pages import island, render, write_page
from concise_rl.output.pages.curves import Panel, Series, panel_data
from concise_rl.output.pages.parts import cut_text
from concise_rl.output.pages.samples import Category, Number, Text, browser_data
from tests.browser import PHONE, OpenPage, column, overflow

NASTY = "</script><script>alert(1)</script><!--<script> \u2028 & \"quotes\" 'too'"


def samples(count: int, prompt: str = "What is {}?") -> dict[str, Any]:
    """Samples of problems of 4 each; the second of each is wrong."""
    tokens = [100 + (37 * i) % 400 for i in range(count)]
    verdicts = ["wrong" if i % 4 == 1 else "right" for i in range(count)]
    facts = [
        Category("model", "model", ["baseline" if i % 2 else "grpo" for i in range(count)]),
        Category("verdict", "verdict", verdicts, {"right": "✓", "wrong": "✗"}),
        Number("tokens", "tokens", tokens),
        Number("redundant", "redundant", [None if i % 4 == 1 else i % 50 for i in range(count)]),
    ]
    texts = [
        Text(
            prompt.format(i // 4),
            "7",
            cut_text(f"<think>\nfirst {i}\nagain\n</think>\n7", "</think>", 15 + len(str(i))),
        )
        for i in range(count)
    ]
    return browser_data(facts, texts, [i // 4 for i in range(count)])


def demo(path: Path, count: int = 40, **changes: Any) -> Path:
    panels = [
        Panel("tokens", [Series("all", [1, 2, 3, 4], [4.0, None, 2.0, float("nan")])], low=0.0),
        Panel("right", [Series("a", [1, 3], [0.5, 0.7]), Series("b", [2, 4], [0.5, 0.7], color=2)], format="percent"),
    ]
    values = {
        "rows": [("b", "1,000.5", "64.2 %"), ("a", "9.1", "-"), ("c", "70", "7.0 %")],
        "panels": panel_data(panels),
        "samples": samples(count),
        "remark": "",
    }
    write_page(path, "demo.html.j2", "tests.concise_rl.output.pages", **{**values, **changes})
    return path


def test_the_same_values_give_the_same_bytes(tmp_path: Path) -> None:
    assert demo(tmp_path / "a").read_bytes() == demo(tmp_path / "b").read_bytes()


def test_data_cannot_end_its_island_and_comes_back_as_it_was() -> None:
    html = str(island("x", {"text": NASTY}))
    content = html[html.index(">") + 1 : html.rindex("</script>")]
    assert "<" not in content and "\u2028" not in content
    assert json.loads(content) == {"text": NASTY}


def test_what_json_cannot_say_is_null() -> None:
    assert ">[null,null,1.5]<" in island("x", [float("nan"), float("inf"), 1.5])


def test_the_page_names_nothing_outside_and_says_so_to_the_browser(tmp_path: Path) -> None:
    page = demo(tmp_path / "page.html").read_text()
    assert "default-src 'none'" in page
    assert not re.search(r"""(src|href)=["'](?!#)""", page)


def test_scripts_that_a_page_does_not_use_are_not_in_it() -> None:
    page = render("kit/base.html.j2", "concise_rl.output.pages")
    assert "uPlot" not in page.partition("<script>")[2] and "Browser" not in page
    assert "themechange" in page


def test_what_is_missing_among_the_values_is_an_error() -> None:
    with pytest.raises(Exception, match="'rows' is undefined"):
        render("demo.html.j2", "tests.concise_rl.output.pages")


def test_a_text_of_html_is_shown_and_does_not_run(tmp_path: Path, open_page: OpenPage) -> None:
    page = open_page(demo(tmp_path / "page.html", samples=samples(8, NASTY + " {}"), remark=NASTY))
    assert "<script>alert(1)" in page.locator(".detail .prompt").inner_text()
    assert "<script>alert(1)" in page.locator("footer").inner_text()


def test_a_column_sorts_largest_first_then_smallest_and_keeps_what_is_unknown_last(
    tmp_path: Path, open_page: OpenPage
) -> None:
    page = open_page(demo(tmp_path / "page.html"))
    header = page.locator("th", has_text="accuracy")
    header.get_by_role("button").click()
    assert column(page, 3) == ["64.2 %", "7.0 %", "-"]
    assert header.get_attribute("aria-sort") == "descending"
    header.get_by_role("button").press("Enter")
    assert column(page, 3) == ["7.0 %", "64.2 %", "-"]
    page.get_by_role("button", name="model").click()
    assert column(page, 1) == ["a", "b", "c"]
    assert page.locator("th[aria-sort]").all_inner_texts() == ["model"]


def test_the_theme_changes_the_colours_and_is_remembered(tmp_path: Path, open_page: OpenPage) -> None:
    page = open_page(demo(tmp_path / "page.html"), color_scheme="light")
    background = "getComputedStyle(document.body).backgroundColor"
    assert page.evaluate(background) == "rgb(254, 254, 254)"
    page.locator("#theme").click()
    page.locator("#theme").click()
    assert page.locator("html").get_attribute("data-theme") == "dark"
    assert page.evaluate(background) == "rgb(18, 23, 29)"
    page.wait_for_timeout(500)  # the browser stores what a page remembers a little later
    page.reload()
    assert page.evaluate(background) == "rgb(18, 23, 29)"


def test_a_dark_system_gets_a_dark_page(tmp_path: Path, open_page: OpenPage) -> None:
    page = open_page(demo(tmp_path / "page.html"), color_scheme="dark")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(18, 23, 29)"


def test_a_phone_scrolls_tables_and_never_the_page(tmp_path: Path, open_page: OpenPage) -> None:
    page = open_page(demo(tmp_path / "page.html"), PHONE)
    assert overflow(page) == 0
    assert page.evaluate("(one => one.scrollWidth > one.clientWidth)(document.querySelector('.scroll'))")


def test_curves_tell_their_ends_to_those_who_do_not_see_them(tmp_path: Path, open_page: OpenPage) -> None:
    page = open_page(demo(tmp_path / "page.html"))
    plots = page.locator(".plot")
    assert plots.first.get_attribute("aria-label") == "tokens: all from 4 to 2"
    assert plots.last.get_attribute("aria-label") == "right: a from 50.0 % to 70.0 %, b from 50.0 % to 70.0 %"


def test_the_pointer_shows_the_values_of_its_step_in_every_panel(tmp_path: Path, open_page: OpenPage) -> None:
    page = open_page(demo(tmp_path / "page.html"))
    over = page.locator(".u-over").first
    over.scroll_into_view_if_needed()
    over.hover(position={"x": over.bounding_box()["width"] * 0.66, "y": 60})
    first, second = page.locator(".u-legend").all_inner_texts()
    assert re.search(r"step\W*3\W*all\W*2", first)
    assert re.search(r"step\W*3\W*a\W*70.0 %", second)


def test_the_page_prints_in_light_colours_without_controls(tmp_path: Path, open_page: OpenPage) -> None:
    page = open_page(demo(tmp_path / "page.html"), color_scheme="dark")
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(254, 254, 254)"
    assert not page.locator(".bar").is_visible() and not page.locator(".controls").first.is_visible()


def test_without_scripts_the_page_is_readable_and_says_what_is_missing(tmp_path: Path, open_page: OpenPage) -> None:
    path = demo(tmp_path / "page.html", samples=samples(4))
    path.write_text(path.read_text().replace("data-browser=", "data-no="))  # nothing will say that it is ready
    page = open_page(path, java_script_enabled=False)
    assert page.get_by_text("Browsing the samples needs JavaScript").is_visible()
    assert column(page, 1) == ["b", "a", "c"]
