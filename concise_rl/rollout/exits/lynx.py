"""LYNX: stop before a word of doubt, when a probe of hidden states is sure that the answer there is right."""

from collections.abc import Sequence
from typing import ClassVar

from pydantic import Field

from concise_rl.rollout.exits.hidden_probe import loaded_probe
from concise_rl.rollout.exits.policy import ExitPolicy, Look, Reading
from concise_rl.rollout.exits.tools import ExitTools, word_tokens

CUES = ("hmm", "wait", "alternatively")
"""Words at which LYNX reads."""


class Lynx(ExitPolicy):
    """Stop before `Hmm`, `Wait` or `Alternatively` when a trained probe is sure (https://hf.co/papers/2512.05325).

    - The probe reads hidden states of the word's token. It is trained on the model's own forced answers:
      `concise-rl exits DIR --train-lynx FILE`.
    - Its scores become sets of verdicts by split-conformal prediction, a threshold for each. Thinking stops where the
      set is {right}: of the places that are wrong, at most the share `delta` is taken for right, where places are
      exchangeable with those of the calibration.

    Of farukakgul/LYNX: cue words, layers, the network, the thresholds. Words of several tokens are no cues here. The
    engine must show hidden states (transformers does); a look counts as one token.
    """

    dial: ClassVar[str] = "delta"
    grid: ClassVar[tuple[float, ...]] = (0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.3, 0.5)

    probe: str
    """File of the trained probe."""
    delta: float = Field(0.03, gt=0, lt=1)
    """Share of the wrong places that may be taken for right."""

    def places(self, thinking_ids: Sequence[int], tools: ExitTools) -> list[int]:
        """See `ExitPolicy.places`. A place lies before its word, which is the one token behind it that is read."""
        cues = set(self.stop_ids(tools))
        return [at for at, token in enumerate(thinking_ids) if token in cues and at]

    def look(self, tools: ExitTools) -> Look:
        """See `ExitPolicy.look`."""
        return Look((), probe=self.probe)

    def stops(self, readings: Sequence[Reading], tools: ExitTools) -> bool:
        """See `ExitPolicy.stops`."""
        score = readings[-1].score
        assert score is not None, "its look wants a score"
        return loaded_probe(self.probe).is_surely_right(score, self.delta)

    def stop_ids(self, tools: ExitTools) -> tuple[int, ...]:
        """See `ExitPolicy.stop_ids`."""
        return cue_tokens(tools, loaded_probe(self.probe).cues)


def cue_tokens(tools: ExitTools, cues: Sequence[str]) -> tuple[int, ...]:
    """Return the tokens that are one of the words, whatever their case and the space around them.

    Raises:
        ValueError: when the tokenizer has none.
    """
    found = word_tokens(tools, cues)
    if not found:
        raise ValueError(f"The tokenizer has no token that is one of {', '.join(cues)}: name other cues.")
    return found
