"""What only a browser does with the page of a run."""

from pathlib import Path

from concise_rl.output.pages import write_page
from concise_rl.train.watch.page import page_values
from concise_rl.train.watch.run import read_run
from tests.browser import PHONE, OpenPage, overflow
from tests.concise_rl.train.watch.test_run import start, write_run


def test_the_page_draws_its_curves_and_finds_rollouts(trained: Path, open_page: OpenPage) -> None:
    page = open_page(trained / "run.html")
    assert page.locator(".panel canvas").count() == page.locator(".panel").count() > 5
    page.get_by_role("link", name="Best beside worst").click()
    page.wait_for_selector(".trace >> nth=1")
    assert "best" in page.locator(".trace .facts").first.inner_text()
    assert "worst" in page.locator(".trace .facts").last.inner_text()
    page.get_by_role("link", name="wrong ones").click()
    page.wait_for_selector(".trace .facts:has-text('wrong')")


def test_the_page_fits_a_phone_in_the_dark(trained: Path, open_page: OpenPage) -> None:
    page = open_page(trained / "run.html", PHONE, color_scheme="dark")
    assert overflow(page) == 0


def test_a_page_that_was_not_written_again_says_that_it_is_old(tmp_path: Path, open_page: OpenPage) -> None:
    run = read_run(write_run(tmp_path, events=[start()]))
    for now, is_old in ((run.changed_at, False), (run.changed_at - 6 * run.patience, True)):
        write_page(tmp_path / "run.html", "run.html.j2", "concise_rl.train.watch", **page_values(run, now))
        assert open_page(tmp_path / "run.html").locator("#stale").is_visible() == is_old
