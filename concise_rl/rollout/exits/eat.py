"""EAT: stop when the entropy behind the closed thinking has come to rest."""

import math
from collections.abc import Sequence
from typing import ClassVar

from pydantic import Field

from concise_rl.rollout.exits.events import literal, places_of
from concise_rl.rollout.exits.policy import ExitPolicy, Look, Reading, Texts
from concise_rl.rollout.exits.tools import ExitTools


class Eat(ExitPolicy):
    r"""Stop when the variance of the entropy after the thinking falls below a bar (https://hf.co/papers/2509.26522).

    - After every `\n\n` the entropy H of the token that would follow `\n</think>\n\n` is taken, in bits.
    - Its moving mean is m_i = a H_i + (1 - a) m_{i-1}, with m_0 = H_0.
    - Its moving variance is v_i = a (H_i - m_i)^2 + (1 - a) v_{i-1}, with v_0 = 0.
    - Thinking stops at the first i >= `least` with v_{i+1} < `delta`: v starts at 0, so it is small at first.

    Of xidulu/EAT, early_stopping_utils.py (`choose_early_stop_point`). Released are functions of a whole trace alone,
    and no default of a and delta: those here are microsoft/interwhen's. The release waits 25 places; interwhen waits 4,
    as here. Where the entropy never falls below `below`, the release forgets that bar, as only a whole trace can show;
    here it holds. `window` is the release's other rule: the plain variance of the last values. It has another suffix,
    too: `\n</think>\n\n\nFinal answer: `. The embedded reasoner is looked at after every line.
    """

    dial: ClassVar[str] = "delta"
    grid: ClassVar[tuple[float, ...]] = (0.0, 1e-6, 1e-5, 1e-4, 1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3, 1.0)

    delta: float = Field(1e-4, ge=0)
    """Variance below which thinking stops, in bits squared."""
    alpha: float = Field(0.2, gt=0, le=1)
    """Weight a of the newest value."""
    least: int = Field(4, ge=0)
    """Places that are passed before the rule is asked."""
    below: float | None = Field(None, gt=0)
    """Entropy that must have been fallen below once, in bits; None: asked of nothing."""
    window: int | None = Field(None, ge=1)
    """Values whose plain variance is taken instead of the moving one, which is then not asked before as many places."""
    events: Texts | None = None
    r"""Texts behind which thinking is looked at; None: `\n\n`."""
    suffix: str | None = None
    """Text behind which the entropy is taken; None: what closes the thinking."""

    def places(self, thinking_ids: Sequence[int], tools: ExitTools) -> list[int]:
        """See `ExitPolicy.places`."""
        return places_of([tools.text_of(token) for token in thinking_ids], literal(self._events(tools)))

    def look(self, tools: ExitTools) -> Look:
        """See `ExitPolicy.look`."""
        if self.suffix is not None:
            return Look(tools.write(self.suffix))
        return Look(tools.closing(), tools.closing(at_line_end=True) if tools.is_embedded else None)

    def stops(self, readings: Sequence[Reading], tools: ExitTools) -> bool:
        """See `ExitPolicy.stops`."""
        entropies = [reading.peeked.entropy / math.log(2) for reading in readings if reading.peeked]
        assert len(entropies) == len(readings), "every place was peeked at"
        if self.below is not None and all(entropy >= self.below for entropy in entropies[:-1]):
            return False
        variances = window_variance(entropies, self.window) if self.window else ema_variance(entropies, self.alpha)
        return is_at_rest(variances, self.delta, self.window or self.least)

    def stop_ids(self, tools: ExitTools) -> tuple[int, ...]:
        """See `ExitPolicy.stop_ids`."""
        return tools.pauses(*self._events(tools))

    def _events(self, tools: ExitTools) -> tuple[str, ...]:
        return (("\n",) if tools.is_embedded else ("\n\n",)) if self.events is None else self.events


def ema_variance(values: Sequence[float], alpha: float, first: float = 0.0) -> list[float]:
    """Return the moving variance at each value.

    Args:
        values: in order.
        alpha: weight of the newest.
        first: variance at the first value.
    """
    found, mean = [first] if values else [], values[0] if values else 0.0
    for value in values[1:]:
        mean = alpha * value + (1 - alpha) * mean
        found.append(alpha * (value - mean) ** 2 + (1 - alpha) * found[-1])
    return found


def window_variance(values: Sequence[float], window: int) -> list[float]:
    """Return the variance of the last `window` values at each value; 0 while there are fewer."""
    found = [0.0] * min(window - 1, len(values))
    for end in range(window, len(values) + 1):
        last = values[end - window : end]
        found.append(sum(value**2 for value in last) / window - (sum(last) / window) ** 2)
    return found


def is_at_rest(variances: Sequence[float], delta: float, least: int) -> bool:
    """Say whether the last variance is below `delta`, and `least` come before it, the first of all left out."""
    return len(variances) - 2 >= least and variances[-1] < delta
