"""The completions endpoint of a vLLM server: what is sent there, and what comes back, checked. Read at vLLM 0.31."""

from collections.abc import Sequence
from typing import Any

from concise_rl.reading.trace import StopReason
from concise_rl.rollout.engine import Completion, Peek, Request, Sampling, Watched, stop_reason
from concise_rl.rollout.engines.http import Http
from concise_rl.rollout.engines.vllm_requests import likeliest_of, watched_of

PATH = "/v1/completions"
NEVER = -100.0
"""Added to the logit of a banned token: vLLM takes no more over HTTP. It leaves e^-100 of the token's chance."""
AS_IT_IS = {"repetition_penalty": 1.0, "presence_penalty": 0.0, "frequency_penalty": 0.0}
"""vLLM fills what a request leaves open from the model's generation config."""


def completion_body(model: str, request: Request, sampling: Sampling, eos_token_ids: Sequence[int]) -> dict[str, Any]:
    """Return what is sent for a completion. Everything that shapes the distribution is spelt out."""
    return {
        "model": model,
        "prompt": list(request.prompt_ids),
        "max_tokens": request.max_tokens,
        "seed": request.seed,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "top_k": sampling.top_k,
        "min_p": sampling.min_p,
        **AS_IT_IS,
        "ignore_eos": True,  # the server's own: ours are among the stop tokens
        "stop_token_ids": [*eos_token_ids, *sampling.stop_ids],
        "logit_bias": {str(token): NEVER for token in sampling.banned_ids} or None,
        "logprobs": sampling.watch if sampling.logprobs or sampling.watch else None,
        "return_token_ids": True,
        "return_tokens_as_token_ids": True,  # two tokens may have one text
    }


def peek_body(model: str, peek: Peek, likeliest: int, token_ids: Sequence[int]) -> dict[str, Any]:
    """Return what is sent for a look at the likeliest tokens, or else at given ones. vLLM takes either."""
    wanted: dict[str, Any] = {"logprob_token_ids": list(token_ids), "logprobs": 0} if token_ids else {}
    return {
        "model": model,
        "prompt": list(peek.prompt_ids),
        "max_tokens": 1,
        "temperature": 0.0,
        **AS_IT_IS,
        "ignore_eos": True,
        "logprobs": likeliest,
        "return_tokens_as_token_ids": True,
        **wanted,
    }


def read_completion(
    http: Http, body: Any, request: Request, sampling: Sampling, eos_token_ids: Sequence[int]
) -> Completion:
    """Return what the server says has come out for a request.

    Raises:
        EngineError: when that cannot be.
    """
    choices = http.dig(body, "choices")
    if len(choices) != 1:
        raise http.wrong(f"sent {len(choices)} completions where one was asked for")
    ids = http.dig(choices, 0, "token_ids")
    if not ids:
        raise http.wrong("sent an empty completion")
    reason = stop_reason(ids, eos_token_ids, sampling.stop_ids)
    if len(ids) > request.max_tokens or (reason is StopReason.LENGTH and len(ids) < request.max_tokens):
        raise http.wrong(
            f"ended a completion after {len(ids)} of {request.max_tokens} tokens, and on no EOS (its reason: "
            f"{choices[0].get('finish_reason')!r})"
        )
    logprobs = _aligned(http, choices[0], "token_logprobs", len(ids)) if sampling.logprobs else None
    return Completion(ids, reason, logprobs, _watched(http, choices[0], len(ids), sampling.watch))


def _watched(http: Http, choice: dict[str, Any], length: int, watch: int) -> list[Watched] | None:
    if not watch:
        return None
    steps = _aligned(http, choice, "top_logprobs", length)
    return [watched_of(likeliest_of(step, watch)) for step in steps]


def _aligned(http: Http, choice: dict[str, Any], name: str, length: int) -> list[Any]:
    """A list of log-probabilities, one entry for each token."""
    found = http.dig(choice, "logprobs", name)
    if len(found) != length:
        raise http.wrong(f"sent {len(found)} log-probabilities for {length} tokens")
    return found


def read_next_logprobs(http: Http, body: Any, least: int) -> dict[int, float]:
    """Return the log-probabilities that the server gives of the next token, by token.

    Args:
        http: of the server.
        body: its answer.
        least: how many there have to be.

    Raises:
        EngineError: when that cannot be.
    """
    step = http.dig(body, "choices", 0, "logprobs", "top_logprobs", 0)
    found = {int(token.removeprefix("token_id:")): value for token, value in step.items()}
    if len(found) < least:
        # vLLM 0.31 on CPU: looks at given tokens and at the likeliest are answered wrongly in one step.
        raise http.wrong(
            f"sent {len(found)} log-probabilities of a token where {least} were asked for: does another "
            "command use it at the same time?"
        )
    return found
