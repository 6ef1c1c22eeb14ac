"""Name runs that have no evaluation to compare."""

from dataclasses import dataclass


@dataclass(frozen=True)
class FailedRun:
    """A run that has no evaluation.

    Attributes:
        label: of its method.
        seed: of its training; None where it has none.
        reason: why, in a line.
    """

    label: str
    seed: int | None
    reason: str
