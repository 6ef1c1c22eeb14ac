"""RPDI-EE: stop where the thinking has become much less sure than it has been so far.

RPDI-EE (https://hf.co/papers/2603.14251): the reasoning path deviation index is the mean entropy of the last 16 tokens
over the mean of all thinking tokens so far; thinking is closed where it exceeds 1.5. No code is public. The entropies
are those of the thinking's own tokens: nothing is probed, and stored samples, which have none, cannot be replayed.
"""

from collections.abc import Sequence
from itertools import accumulate

from concise_rl.rollout.exits.watching import window_means


def deviates_at(entropies: Sequence[float], window: int, threshold: float) -> int | None:
    """Find where thinking first deviates.

    Args:
        entropies: of each thinking token, in nats or bits.
        window: tokens of the local mean.
        threshold: times the mean of all so far that the local one has to exceed.

    Returns:
        Tokens through the one that ends the window; None where there is none.
    """
    totals = list(accumulate(entropies))
    for end, local in enumerate(window_means(entropies, window), start=window):
        if local > threshold * totals[end - 1] / end:
            return end
    return None
