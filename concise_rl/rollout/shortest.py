"""Giving up rollouts that cannot count any more: those that are sure not to be among the shortest of their group."""

import bisect
from collections.abc import Callable


class ShortestOnly:
    """Only the `keep` shortest completions of each group are wanted.

    Once `keep` members of a group have ended, at most L tokens long, a member that has L tokens and goes on will be
    longer than all of them. What ended by itself never depends on this: giving up only spares tokens.
    """

    def __init__(self, keep: int, group_of: Callable[[int], int]) -> None:
        """
        Args:
            keep: members of each group that count.
            group_of: the group of a request, by its position in the call. A group may be there in part (it straddles
                ranks): then fewer members can be given up, and those rightly.
        """
        self.keep, self.group_of = keep, group_of
        self._ended: dict[int, list[int]] = {}

    def end(self, request: int, length: int) -> None:
        """Note that a request has ended by itself after `length` tokens."""
        lengths = self._ended.setdefault(self.group_of(request), [])
        bisect.insort(lengths, length)
        del lengths[self.keep :]

    def cap(self, request: int) -> float:
        """Tokens at which a request that has not ended can be given up; infinite while any length may count."""
        lengths = self._ended.get(self.group_of(request), [])
        return lengths[-1] if len(lengths) == self.keep else float("inf")
