"""DEER: stop before a word of doubt, when the answer that is forced there is sure."""

import math
from collections.abc import Sequence
from typing import ClassVar, Literal

from pydantic import Field

from concise_rl.rollout.exits.events import literal, places_of
from concise_rl.rollout.exits.policy import ExitPolicy, Look, Reading, Texts
from concise_rl.rollout.exits.tools import ExitTools

FLOOR = 1e-10
"""The least probability of a token in a geometric mean, as released."""
Mean = Literal["avg1", "avg2", "min"]


class Deer(ExitPolicy):
    r"""Stop before `Wait` when a trial answer is surer than the threshold (https://hf.co/papers/2504.15895).

    - The trial answer is decoded behind `\n**Final Answer**\n\boxed`, at most 20 tokens, up to a closing brace.
    - Its confidence is a mean over the probabilities of its tokens from the second on: the first opens the brace.
    - The first 10 places are judged, and none after them.

    Of iie-ycx/DEER, vllm-deer.py: the suffix (line 252), the count of places (166 and 396), the means
    (`calculate_average_max_prob_from_logprobs`). The paper decodes trial answers greedily. The released code leaves the
    temperature out (434) and so samples at 1: `probe_temperature=1`. Its limit is a share of the cap that its scripts
    choose: `limit`. A one-token trial divides by zero there; here its confidence is 0. Of its variant for Qwen3, the
    mean `avg2` is here; that a trial must close the thinking is not.

    The embedded reasoner stops before any word of doubt. Its trial answer stands behind the delimiter.
    """

    dial: ClassVar[str] = "threshold"
    grid: ClassVar[tuple[float, ...]] = (1.0, 0.999, 0.99, 0.975, 0.95, 0.9, 0.8, 0.6, 0.4, 0.2, 0.0)

    threshold: float = Field(0.95, ge=0, le=1)
    """Confidence that must be exceeded."""
    mean: Mean = "avg1"
    """Of the tokens' probabilities: arithmetic (avg1, released for DeepSeek models), geometric (avg2, for Qwen3) or the
    least (min)."""
    probe_temperature: float = Field(0.0, ge=0)
    """Of the trial answer; 1 as released."""
    words: Texts | None = None
    """Texts before which thinking is looked at, in longer words too; None: `Wait`."""
    suffix: str | None = None
    """Text behind which a trial answer is decoded; None: as published."""
    tokens: int = Field(20, ge=1)
    """The most that a trial answer has."""
    most: int = Field(10, ge=1)
    """Places that are judged."""

    def places(self, thinking_ids: Sequence[int], tools: ExitTools) -> list[int]:
        """See `ExitPolicy.places`."""
        texts = [tools.text_of(token) for token in thinking_ids]
        return places_of(texts, literal(self._words(tools)), before=True)[: self.most]

    def look(self, tools: ExitTools) -> Look:
        """See `ExitPolicy.look`."""
        stop_ids = tools.tokens_with("}")
        if self.suffix is None and tools.is_embedded:
            ids, at_line_end = tools.write(f"\n{tools.think_end}"), tools.write(tools.think_end)
        else:
            ids, at_line_end = tools.write("\n**Final Answer**\n\\boxed" if self.suffix is None else self.suffix), None
        return Look(ids, at_line_end, self.tokens, self.probe_temperature, stop_ids=stop_ids, logprobs=True)

    def stops(self, readings: Sequence[Reading], tools: ExitTools) -> bool:
        """See `ExitPolicy.stops`."""
        return confidence(readings[-1].logprobs, self.mean) > self.threshold

    def stop_ids(self, tools: ExitTools) -> tuple[int, ...]:
        """See `ExitPolicy.stop_ids`."""
        return tools.pauses(*self._words(tools))

    def _words(self, tools: ExitTools) -> tuple[str, ...]:
        doubts = ("Wait", "Hmm", "But", "Alternatively", "Let") if tools.is_embedded else ("Wait",)
        return doubts if self.words is None else self.words


def confidence(logprobs: Sequence[float], mean: Mean) -> float:
    """Return how sure a trial answer is.

    Args:
        logprobs: of its tokens. The first is left out; with nothing behind it the confidence is 0.
        mean: see `Deer.mean`.
    """
    rest = logprobs[1:]
    if not rest:
        return 0.0
    probabilities = [math.exp(logprob) for logprob in rest]
    if mean == "min":
        return min(probabilities)
    if mean == "avg1":
        return sum(probabilities) / len(rest)
    return math.exp(sum(math.log(max(probability, FLOOR)) for probability in probabilities) / len(rest))
