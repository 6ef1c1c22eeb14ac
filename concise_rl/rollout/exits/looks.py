"""Take looks: put what an exit policy asks at places of thinking to an engine, all places in one batch."""

from collections.abc import Sequence
from dataclasses import dataclass

from concise_rl.rollout.engine import Asked, Engine, HiddenEngine, Peek, PeekingEngine, Request, Sampling
from concise_rl.rollout.exits.hidden_probe import loaded_probe
from concise_rl.rollout.exits.policy import Look, Reading
from concise_rl.rollout.exits.tools import ExitTools


@dataclass(frozen=True)
class Looking:
    """One place to look at.

    Attributes:
        prompt_ids, thinking_ids: what stands before it.
        next_id: the thinking token behind it, where that is known: a probe reads it.
        seed: of what is decoded there.
    """

    prompt_ids: Sequence[int]
    thinking_ids: Sequence[int]
    next_id: int | None = None
    seed: int | None = None

    @property
    def at(self) -> int:
        """Return the thinking tokens before it."""
        return len(self.thinking_ids)

    def prompt(self, suffix_ids: Sequence[int]) -> list[int]:
        """Return all that a model reads before what it decodes there."""
        return [*self.prompt_ids, *self.thinking_ids, *suffix_ids]


def check_looks(engine: Engine, look: Look | None) -> None:
    """
    Raises:
        ValueError: when the engine cannot take such looks.
    """
    if look and look.probe and not isinstance(engine, HiddenEngine):
        raise ValueError(
            f"{type(engine).__name__} shows no hidden states, which lynx needs: use --engine transformers, or another "
            "exit."
        )
    if look and not look.probe and not look.tokens and not isinstance(engine, PeekingEngine):
        raise ValueError(f"{type(engine).__name__} cannot look at the next token, which this exit needs.")


def take_looks(engine: Engine, look: Look, places: Sequence[Looking], tools: ExitTools) -> list[Reading]:
    """Return what is read at each place, in order.

    Raises:
        ValueError: when the engine cannot take such looks, or does not say what it should.
    """
    check_looks(engine, look)
    if not places:
        return []
    if look.probe:
        return _scored(engine, look.probe, places)
    prompts = [place.prompt(look.suffix(place.thinking_ids, tools)) for place in places]
    if not look.tokens:
        assert isinstance(engine, PeekingEngine), "checked above"
        peeked = engine.peek([Peek(prompt, look.token_ids) for prompt in prompts])
        return [Reading(place.at, peeked=seen) for place, seen in zip(places, peeked, strict=True)]
    requests = [Request(prompt, look.tokens, place.seed) for prompt, place in zip(prompts, places, strict=True)]
    sampling = Sampling(look.temperature, look.top_p, stop_ids=look.stop_ids, logprobs=look.logprobs)
    found = engine.generate(Asked(requests, sampling))
    return [
        Reading(place.at, tuple(completion.ids), known_logprobs(completion.logprobs))
        for place, completion in zip(places, found, strict=True)
    ]


def _scored(engine: Engine, path: str, places: Sequence[Looking]) -> list[Reading]:
    """Have a probe read the token behind each place."""
    assert isinstance(engine, HiddenEngine), "checked before"
    assert all(place.next_id is not None for place in places), "a probe's places lie before a token that is there"
    probe = loaded_probe(path)
    states_ND = engine.hidden_states([place.prompt([place.next_id or 0]) for place in places], probe.layers)
    scores = probe.scores(states_ND).tolist()
    return [Reading(place.at, score=score) for place, score in zip(places, scores, strict=True)]


def known_logprobs(logprobs: Sequence[float | None] | None) -> tuple[float, ...]:
    """Return the log-probabilities that were asked for.

    Raises:
        ValueError: when the engine could not say one of them.
    """
    known = tuple(logprob for logprob in logprobs or () if logprob is not None)
    if len(known) != len(logprobs or ()):
        raise ValueError("The engine does not tell the log-probabilities of what it decodes: this exit needs them.")
    return known
