"""The seam to whatever generates: prompt ids in; completion ids, log-probabilities and stop reason out. Training and
evaluation share it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol, runtime_checkable

import numpy as np

from concise_rl.reading.trace import StopReason
from concise_rl.rollout.shortest import ShortestOnly

if TYPE_CHECKING:  # torch takes a second, and the command line reads this
    from torch import Tensor

Progress = Callable[[int], None]
"""Called with the number of completions that have just ended."""
Heard = Callable[[Sequence[int]], None]
"""Called with the tokens of a completion that have just been sampled."""


@dataclass(frozen=True)
class Sampling:
    """How to sample, for all requests of a call. The defaults are the full distribution: anything else biases the
    importance ratio in training.

    Attributes:
        temperature: 0 for greedy.
        top_p, top_k, min_p: truncations of the distribution; 1.0, 0 and 0.0 are off.
        stop_ids: tokens that end a completion besides the EOS tokens; they are part of it.
        logprobs: whether log-probabilities of the sampled tokens are wanted.
        banned_ids: tokens that are never drawn.
        watch: likeliest tokens that `Watched.confidence` is the mean over; 0 if nothing is to be watched.
    """

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    stop_ids: tuple[int, ...] = ()
    logprobs: bool = False
    banned_ids: tuple[int, ...] = ()
    watch: int = 0

    @property
    def is_truncated(self) -> bool:
        """Whether unlikely tokens are cut off. A greedy choice is the same with and without."""
        return self.temperature > 0 and (self.top_p, self.top_k, self.min_p) != (1.0, 0, 0.0)


@dataclass(frozen=True)
class Request:
    """One completion wanted. A forced continuation is a request whose prompt ends with what was forced.

    Attributes:
        prompt_ids: tokens before the completion.
        max_tokens: cap on completion tokens.
        seed: of this request's draws; None draws from the global generator.
        reserve: tokens that later requests will need behind the completion: an engine that has no room for them says so
            now.
    """

    prompt_ids: Sequence[int]
    max_tokens: int
    seed: int | None = None
    reserve: int = 0

    @property
    def most_tokens(self) -> int:
        """The most that an engine has to take for it in the end."""
        return len(self.prompt_ids) + self.max_tokens + self.reserve


class Watched(NamedTuple):
    """How sure the model was where it drew one token: before temperature, truncations and bans.

    Attributes:
        entropy: in nats, over the vocabulary. Over HTTP it is a lower bound: what is not among the `watch` likeliest
            tokens counts as one.
        confidence: minus the mean log-probability of the `watch` likeliest tokens, as in DeepConf
            (https://hf.co/papers/2508.15260). Higher is surer.
    """

    entropy: float
    confidence: float


@dataclass(frozen=True)
class Completion:
    """What came out for one request.

    Attributes:
        ids: at least one token; an EOS or stop token that ended it is the last.
        stop_reason: EOS, LENGTH, STOP_TOKEN or ABORTED.
        logprobs: of the ids, under the distribution that was sampled (temperature and truncations applied; of a greedy
            choice, at temperature 1); a None in it where the engine could not say. None altogether unless they were
            wanted.
        watched: one of each of the ids. None unless it was wanted.
    """

    ids: list[int]
    stop_reason: StopReason
    logprobs: list[float | None] | None = None
    watched: list[Watched] | None = None


@dataclass(frozen=True)
class Peek:
    """A look at the token that would come next, at temperature 1, with nothing cut off. No token is drawn.

    Attributes:
        prompt_ids: tokens before it, one at least.
        token_ids: tokens whose log-probabilities are wanted.
    """

    prompt_ids: Sequence[int]
    token_ids: tuple[int, ...] = ()


@dataclass(frozen=True)
class Peeked:
    """What a look shows.

    Attributes:
        entropy: in nats, over the vocabulary.
        top_id: the likeliest token.
        top_logprob: its log-probability.
        logprobs: one for each of the `token_ids`.
    """

    entropy: float
    top_id: int
    top_logprob: float
    logprobs: tuple[float, ...]


Landed = Callable[[int, Completion], None]
"""Called with the position of a request and its completion, which has just ended."""


@dataclass(frozen=True)
class Asked:
    """One call to an engine or a plan: the completions that are wanted, and how.

    Attributes:
        requests: the members of a group side by side, each with a seed of its own.
        sampling: shared by all requests.
        progress: told of completions that end.
        give_up: says which requests can be given up early, by their positions in `requests`. An engine that cannot
            abort, or only now and then, samples more than needed and is right all the same.
        landed: handed each completion as it ends, before the call returns them all. An engine that cannot say so leaves
            it alone. For who calls an engine itself, or by a plan of one call.
    """

    requests: Sequence[Request]
    sampling: Sampling
    progress: Progress | None = None
    give_up: ShortestOnly | None = None
    landed: Landed | None = None


class Engine(Protocol):
    """Something that completes prompts."""

    def generate(self, asked: Asked) -> list[Completion]:
        """Return one completion for each request, in order.

        Raises:
            ValueError: for requests that this engine cannot take, saying which setting to change.
            EngineError: when the engine fails.
        """
        ...


class StreamingEngine(Engine, Protocol):
    """One that can be listened to."""

    def stream(self, request: Request, sampling: Sampling, heard: Heard) -> Completion:
        """One completion, told token by token. Its draws are those of `generate(Asked([request], sampling))`.

        Args:
            request: what to complete.
            sampling: how.
            heard: told of tokens, in this thread, as soon as they are there; of each of them once.

        Raises:
            ValueError, EngineError: as `generate` does.
        """
        ...


@runtime_checkable
class PeekingEngine(Protocol):
    """One that can look at the next token."""

    def peek(self, peeks: Sequence[Peek]) -> list[Peeked]:
        """Return what each look shows, in order. All of them go to the model together.

        Raises:
            ValueError: for a prompt with no room for a token behind it.
            EngineError: when the engine fails.
        """
        ...


@runtime_checkable
class HiddenEngine(Protocol):
    """One that shows hidden states."""

    def hidden_states(self, prompts: Sequence[Sequence[int]], layers: Sequence[int]) -> "Tensor":
        """Return the hidden states of the last token of each prompt: (N, len(layers) * D), in float32, on the CPU.

        Args:
            prompts: one token each at least.
            layers: 0 is the embedding, L what the last layer gives, after the final norm; -1 is the last.

        Raises:
            ValueError: for a layer that the model does not have, or a prompt that does not fit.
        """
        ...


@runtime_checkable
class Shared(Protocol):
    """An engine that all ranks ask at the same time: each of them has to make as many calls as the others."""

    def is_wanted(self, wanted: bool) -> bool:
        """Whether any rank wants another call. All ranks ask this at the same time, too.

        Args:
            wanted: whether this one does.
        """
        ...


def is_wanted(engine: Engine, wanted: bool) -> bool:
    """Whether a call is to be made, with no requests if need be: by this rank's wish, or any rank's where they share
    the engine."""
    return engine.is_wanted(wanted) if isinstance(engine, Shared) else wanted


def derive_seed(*parts: int) -> int:
    """A seed that is a function of its parts alone: the run's, the step, the row, say."""
    return int(np.random.SeedSequence(parts).generate_state(1)[0])


def stop_reason(ids: Sequence[int], eos_token_ids: Sequence[int], stop_ids: Sequence[int]) -> StopReason:
    """Why a completion that nobody aborted ended."""
    if ids[-1] in eos_token_ids:
        return StopReason.EOS
    return StopReason.STOP_TOKEN if ids[-1] in stop_ids else StopReason.LENGTH
