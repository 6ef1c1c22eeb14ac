"""The page of a run while it trains."""

from pathlib import Path

from concise_rl.train.watch.writer import PageWriter
from tests.concise_rl.full_disk import room_for


def test_a_page_that_finds_no_room_is_warned_of_once_and_leaves_the_one_before(trained: Path, caplog) -> None:
    before, writer = (trained / "run.html").read_bytes(), PageWriter(1)
    for _ in range(2):
        with room_for(1000):
            writer.write(trained)
    assert caplog.text.count("Could not write the page of this run (OSError: [Errno 27] File too large)") == 1
    assert (trained / "run.html").read_bytes() == before and not list(trained.glob(".run.html*"))
