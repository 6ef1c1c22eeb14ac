"""Sort groups by their verdicts."""

from enum import IntEnum

from torch import Tensor

from concise_rl.methods import has_signal


class GroupKind(IntEnum):
    """A group by its verdicts. Those that could not be had count for neither side."""

    MIXED = 0
    ALL_CORRECT = 1
    ALL_WRONG = 2
    UNJUDGED = 3


def group_kinds(verdicts_PG: Tensor) -> list[GroupKind]:
    """The kind of each group, from (P, G) verdicts 1, 0, or NaN."""
    kinds = []
    for verdicts_G, is_mixed in zip(verdicts_PG, has_signal(verdicts_PG).tolist(), strict=True):
        judged = verdicts_G[~verdicts_G.isnan()]
        right = GroupKind.ALL_CORRECT if (judged == 1).all() else GroupKind.ALL_WRONG
        kinds.append(GroupKind.MIXED if is_mixed else right if len(judged) else GroupKind.UNJUDGED)
    return kinds
