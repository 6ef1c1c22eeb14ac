"""What becomes of a rank when another one ends."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.serving import free_port

ROOT = Path(__file__).parents[3]
SCRIPT = Path(__file__).with_name("peers_run.py")


def two_ranks(how: str) -> tuple[list[int], list[str], list[float]]:
    """Exit codes, what was said to stderr, and when each ended, of the two."""
    network = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "WORLD_SIZE": "2", "PYTHONPATH": str(ROOT)}
    ranks = [
        subprocess.Popen(
            [sys.executable, SCRIPT, how],
            env=os.environ | network | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    said, ends = [""] * 2, [0.0] * 2
    for rank in (1, 0):  # the second one ends first
        said[rank] = ranks[rank].communicate(timeout=300)[1]
        ends[rank] = time.monotonic()
    return [rank.returncode for rank in ranks], said, ends


@pytest.mark.slow
@pytest.mark.parametrize(
    ("how", "status", "line"),
    [
        ("error", 1, "has ended: no such thing. Every rank ends."),
        ("killed", -9, "(127.0.0.1) is gone: its process was killed. Every rank ends."),
    ],
)
def test_a_rank_ends_soon_after_another_and_says_which_and_why(how: str, status: int, line: str) -> None:
    codes, said, ends = two_ranks(how)
    assert codes == [1, status], said
    assert line in said[0] and "error: Rank 1 on " in said[0] and "Traceback" not in said[0]
    assert ends[0] - ends[1] < 20


@pytest.mark.slow
def test_ranks_that_end_in_order_say_nothing_of_each_other() -> None:
    codes, said, _ = two_ranks("done")
    assert codes == [0, 0] and "Rank" not in "".join(said)
