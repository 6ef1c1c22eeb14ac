"""Seconds of the parts of a step."""

import time
from collections import defaultdict
from collections.abc import Generator
from contextlib import contextmanager


class Clock:
    """Adds up the seconds of each part of a step, on this rank."""

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)

    @contextmanager
    def timed(self, part: str) -> Generator[None]:
        """Count the seconds of a part of the step."""
        began = time.perf_counter()
        yield
        self.seconds[part] += time.perf_counter() - began
