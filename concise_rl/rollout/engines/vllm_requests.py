"""What vLLM is asked for a request, in this process or over HTTP, and how its answers are read. Read at vLLM 0.31."""

import heapq
import math
from collections.abc import Mapping, Sequence
from typing import Any

from concise_rl.reading.trace import StopReason
from concise_rl.rollout.engine import Completion, Peek, Peeked, Request, Sampling, Watched, stop_reason

MOST_BANNED = 1024
"""Tokens that a request may ban: vLLM keeps so many biases of a request on a GPU."""
MOST_LIKELIEST = 256
"""Likeliest tokens of a step that a request may ask for, and that the entropy of a look is taken over. The whole
vocabulary would be millions of numbers for a batch of looks."""
CPU_BLOCK = 32
"""Tokens in a block of cached keys on CPU: the fewest for which vLLM's fast kernel is used."""
PROCESSED, RAW = "processed_logprobs", "raw_logprobs"
"""An engine gives log-probabilities either of the distribution that is sampled, or of the model's own."""


def check_sampling(sampling: Sampling, mode: str | None, remedy: str) -> None:
    """Refuse what vLLM cannot take, or would answer with other log-probabilities than those wanted.

    Args:
        sampling: that is wanted.
        mode: of the engine's log-probabilities; None where that is not known.
        remedy: how an engine with `raw_logprobs` is started.

    Raises:
        ValueError: for more bans or watched tokens than vLLM takes, or for log-probabilities of the other mode.
    """
    if len(sampling.banned_ids) > MOST_BANNED:
        raise ValueError(
            f"{len(sampling.banned_ids)} tokens are banned, and vLLM takes {MOST_BANNED}: ban fewer, or sample with "
            "the transformers engine."
        )
    if sampling.watch > MOST_LIKELIEST:
        raise ValueError(
            f"{sampling.watch} tokens are to be watched at each step, and vLLM is asked for {MOST_LIKELIEST} at most."
        )
    if not is_shaped(sampling):
        return
    if sampling.watch and mode != RAW:
        raise ValueError(
            f"Tokens are watched before temperature, truncation and bans, and this vLLM engine gives "
            f"{mode or 'an unknown kind of log-probabilities'}: {remedy}, or sample at temperature 1, top_p 1."
        )
    if sampling.logprobs and mode == RAW:
        raise ValueError(
            "Log-probabilities are wanted of the distribution that is sampled, and this vLLM engine gives those of "
            "temperature 1 with nothing cut off: sample so, or start it with processed_logprobs."
        )


def is_shaped(sampling: Sampling) -> bool:
    """Whether tokens are drawn from another distribution than the model's own. vLLM gives a greedy choice the
    log-probabilities of temperature 1."""
    return bool(sampling.temperature not in (0.0, 1.0) or sampling.is_truncated or sampling.banned_ids)


def sampling_params(request: Request, sampling: Sampling, eos_token_ids: Sequence[int], *, streamed: bool) -> Any:
    """Return vLLM's `SamplingParams` for a request."""
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind

    return SamplingParams(
        max_tokens=request.max_tokens,
        seed=request.seed,
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        top_k=sampling.top_k,
        min_p=sampling.min_p,
        ignore_eos=True,  # vLLM's own: ours are among the stop tokens
        stop_token_ids=[*eos_token_ids, *sampling.stop_ids],
        logit_bias=dict.fromkeys(sampling.banned_ids, float("-inf")) or None,
        logprobs=sampling.watch if sampling.logprobs or sampling.watch else None,
        flat_logprobs=True,
        detokenize=False,
        output_kind=RequestOutputKind.DELTA if streamed else RequestOutputKind.FINAL_ONLY,
    )


def peeking_params(likeliest: int = 0, token_ids: Sequence[int] = ()) -> Any:
    """Return vLLM's `SamplingParams` for a look at the likeliest tokens, or else at given ones. It takes either."""
    from vllm import SamplingParams

    wanted: dict[str, Any] = {"logprob_token_ids": list(token_ids)} if token_ids else {"logprobs": likeliest}
    return SamplingParams(max_tokens=1, temperature=0.0, ignore_eos=True, detokenize=False, **wanted)


class Growing:
    """A completion on its way."""

    def __init__(self) -> None:
        self.ids: list[int] = []
        self.logprobs: list[float | None] = []
        self.watched: list[Watched] = []
        self.aborted = False

    def extend(self, output: Any, sampling: Sampling) -> None:
        """Add what vLLM has new, a `CompletionOutput`."""
        self.ids += output.token_ids
        if output.logprobs is None:
            return
        # Of each token the log-probability of the one drawn, and behind it those of the likeliest.
        values = output.logprobs.logprobs
        for start in output.logprobs.start_indices:
            drawn = values[start]
            # NaN, where vLLM could not say: the loss must not read it as a number.
            self.logprobs.append(None if drawn != drawn else drawn)
            if sampling.watch:
                self.watched.append(watched_of(values[start + 1 : start + 1 + sampling.watch]))

    def completion(self, eos_token_ids: Sequence[int], sampling: Sampling) -> Completion:
        """As the engine's callers know it."""
        reason = StopReason.ABORTED if self.aborted else stop_reason(self.ids, eos_token_ids, sampling.stop_ids)
        logprobs = self.logprobs if sampling.logprobs else None
        return Completion(self.ids, reason, logprobs, self.watched if sampling.watch else None)


def watched_of(top_logprobs: Sequence[float]) -> Watched:
    """Return what the log-probabilities of the likeliest tokens show. All other tokens count as one, so that the
    entropy is a lower bound."""
    chances = [math.exp(value) for value in top_logprobs]
    rest = max(0.0, 1.0 - sum(chances))
    each = [-chance * math.log(chance) for chance in (*chances, rest) if chance > 0]
    return Watched(sum(each), -sum(top_logprobs) / len(top_logprobs))


def likeliest_of(logprobs: Mapping[int, float], number: int) -> list[float]:
    """Return the largest log-probabilities of a step, whose drawn token may come on top of those asked for."""
    return heapq.nlargest(number, logprobs.values())


def peeked_of(peek: Peek, likeliest: Mapping[int, float], others: Mapping[int, float]) -> Peeked:
    """Return what a look shows.

    Args:
        peek: the look.
        likeliest: log-probabilities of the likeliest tokens.
        others: those of tokens that are wanted and not among them.
    """
    top_id = max(likeliest, key=likeliest.__getitem__)
    known = {**others, **likeliest}
    entropy = watched_of(list(likeliest.values())).entropy
    return Peeked(entropy, top_id, likeliest[top_id], tuple(known[token] for token in peek.token_ids))


def unseen_ids(peek: Peek, likeliest: Mapping[int, float]) -> tuple[int, ...]:
    """Return the tokens that are wanted and not among the likeliest."""
    return tuple(dict.fromkeys(token for token in peek.token_ids if token not in likeliest))
