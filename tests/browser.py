"""Pages in the system's Chromium, for the tests of what only a browser does. A plugin of tests/conftest.py."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
DESK, PHONE = (1280, 800), (390, 844)
OpenPage = Callable[..., Any]
"""From a file, the size of the window and other options of a context to playwright's page."""


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """A browser for all tests of a process. Without one the test is skipped."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install playwright")
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        pytest.skip(f"no browser on the PATH: none of {', '.join(NAMES)}")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def open_page(chromium: Any) -> Iterator[OpenPage]:
    """Opens files as a reader does; what goes wrong in them fails the test.

    That is an error or a warning on the console, an exception, and a request for anything but the file itself.
    """
    complaints: list[str] = []
    contexts: list[Any] = []

    def open_file(path: Path, size: tuple[int, int] = DESK, address: str = "", **options: Any) -> Any:
        context = chromium.new_context(viewport={"width": size[0], "height": size[1]}, **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(15_000)
        page.on("console", lambda message: _complain(message, complaints))
        page.on("pageerror", lambda error: complaints.append(f"exception: {error}"))
        url = path.resolve().as_uri()
        page.on("request", lambda request: request.url.startswith(url) or complaints.append(f"request: {request.url}"))
        page.goto(url + address)
        page.wait_for_selector("[data-browser]:not([data-ready])", state="detached")
        return page

    yield open_file
    for context in contexts:
        context.close()
    assert complaints == []


def _complain(message: Any, complaints: list[str]) -> None:
    if message.type in ("error", "warning"):
        complaints.append(f"console: {message.text}")


def overflow(page: Any) -> int:
    """Pixels by which the page is wider than the window."""
    return page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")


def column(page: Any, number: int, table: str = "table[data-sortable]") -> list[str]:
    """The texts of a table's column, from above, without their second lines."""
    cells = page.locator(f"{table} tbody tr:not(.run) > :nth-child({number})").all_inner_texts()
    return [cell.split("\n")[0].strip() for cell in cells]
