"""vLLM in a server of its own, spoken to over HTTP. `concise-rl serve` starts one as it has to be.

Read at vLLM 0.31. Every way in which a server can fail becomes an `EngineError` that says so and what to do.
"""

import logging
import re
from collections.abc import Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

import httpx
from transformers import PretrainedConfig

from concise_rl.errors import EngineError
from concise_rl.rollout.engine import Asked, Completion, Heard, Peek, Peeked, Request, Sampling
from concise_rl.rollout.engines import completions
from concise_rl.rollout.engines.crowd import Balance, ask_all, to_the_end
from concise_rl.rollout.engines.http import Http
from concise_rl.rollout.engines.vllm_requests import MOST_LIKELIEST, check_sampling, is_shaped, peeked_of, unseen_ids
from concise_rl.rollout.sync.weights import check_complete

logger = logging.getLogger(__name__)


class VllmServer:
    """An `Engine` over the OpenAI-like server of vLLM.

    Attributes:
        model: the name under which it serves its model.
        max_model_len: most tokens of a prompt and its completion.
    """

    def __init__(
        self,
        url: str,
        eos_token_ids: Sequence[int],
        start_timeout: float = 240.0,
        rollout_timeout: float = 600.0,
        vocabulary: int = MOST_LIKELIEST,
    ) -> None:
        """
        Args:
            url: of the server, as `http://host:8000`.
            eos_token_ids: all ids that end a completion; the server's own idea of them is not used.
            start_timeout: seconds to wait for a server that is still starting.
            rollout_timeout: seconds in which at least one completion of a call must end, and any other answer come.
            vocabulary: tokens that the model has, or fewer; more than a server can be asked for make no difference.

        Raises:
            ValueError: for what is no URL.
            EngineError: when no server answers in time.
        """
        self.url, self.eos_token_ids = url.rstrip("/"), list(eos_token_ids)
        self.rollout_timeout, self.likeliest = rollout_timeout, min(vocabulary, MOST_LIKELIEST)
        self.http = Http(self.url, rollout_timeout)
        self.http.wait_until_healthy(start_timeout)
        card = self.http.dig(self.http.call("GET", "/v1/models"), "data", 0)
        self.model: str = self.http.dig(card, "id")
        self.max_model_len: int = self.http.dig(card, "max_model_len")

    def close(self) -> None:
        """Let go of the connection; the server stays."""
        self.http.client.close()

    def generate(self, asked: Asked) -> list[Completion]:
        """See `Engine.generate`. A request's draws depend on its own seed alone. `give_up` is not used: a server cannot
        be told to abort at an exact token, and what is sampled without it is right all the same.

        Raises:
            ValueError: when a prompt and its completion might not fit in `max_model_len`, or for a sampling that the
                server cannot take; nothing is sent then.
        """
        self.check([request.most_tokens for request in asked.requests], asked.sampling)
        return generate_over([self], Balance([0]), asked)

    def peek(self, peeks: Sequence[Peek]) -> list[Peeked]:
        """See `PeekingEngine.peek`. The entropy is over the `MOST_LIKELIEST` tokens, and all others as one.

        Raises:
            ValueError: when a prompt and a token behind it do not fit in `max_model_len`.
        """
        self.check([len(peek.prompt_ids) + 1 for peek in peeks])
        return peek_over([self], Balance([0]), peeks)

    def stream(self, request: Request, sampling: Sampling, heard: Heard) -> Completion:
        """See `StreamingEngine.stream`.

        Raises:
            ValueError: when a prompt and its completion might not fit in `max_model_len`, or for a sampling that the
                server cannot take; nothing is sent then.
            EngineError: when the server fails, or sends nothing for `rollout_timeout` seconds.
        """
        self.check([request.most_tokens], sampling)
        ids: list[int] = []
        last: dict[str, Any] = {}
        body = completions.completion_body(self.model, request, sampling, self.eos_token_ids)
        for event in self.http.events(completions.PATH, {**body, "stream": True}):
            for last in self.http.dig(event, "choices"):  # none in an event that tells of usage
                new = self.http.dig(last, "token_ids")
                ids += new
                if new:
                    heard(new)
        whole = {"choices": [{**last, "token_ids": ids}]}
        return completions.read_completion(self.http, whole, request, sampling, self.eos_token_ids)

    async def complete(self, client: httpx.AsyncClient, request: Request, sampling: Sampling) -> Completion:
        """One completion."""
        body = completions.completion_body(self.model, request, sampling, self.eos_token_ids)
        answer = await self._post(client, body)
        return completions.read_completion(self.http, answer, request, sampling, self.eos_token_ids)

    async def next_logprobs(
        self, client: httpx.AsyncClient, peek: Peek, token_ids: Sequence[int] = ()
    ) -> dict[int, float]:
        """Log-probabilities of the next token: of the likeliest, or of those given."""
        body = completions.peek_body(self.model, peek, self.likeliest, token_ids)
        least = len(token_ids) or self.likeliest
        return completions.read_next_logprobs(self.http, await self._post(client, body), least)

    async def _post(self, client: httpx.AsyncClient, body: dict[str, Any]) -> Any:
        try:
            response = await client.post(completions.PATH, json=body)
        except httpx.HTTPError as error:
            raise self.http.lost(completions.PATH, error) from error
        return self.http.read(completions.PATH, response)

    def check(self, lengths: Sequence[int], sampling: Sampling | None = None) -> None:
        """
        Raises:
            ValueError: for a prompt and completion of more than `max_model_len` tokens, or a sampling that the server
                cannot take.
        """
        self._check_lengths(lengths)
        if sampling is not None:
            asks_mode = is_shaped(sampling) and sampling.watch
            remedy = f"start the one at {self.url} with --logprobs-mode raw_logprobs"
            check_sampling(sampling, self.logprobs_mode if asks_mode else None, remedy)

    @cached_property
    def logprobs_mode(self) -> str | None:
        """What its log-probabilities are of; None where it does not say, as a server that takes no weights."""
        response = self.http.send("GET", "/server_info", params={"config_format": "json"})
        if response.status_code == httpx.codes.NOT_FOUND:
            return None
        config = self.http.dig(self.http.read("/server_info", response), "vllm_config")
        return self.http.dig(config, "model_config", "logprobs_mode")

    def score(self, prompt_ids: Sequence[int]) -> list[float]:
        """Log-probability of every token of a sequence but the first, at temperature 1.

        Raises:
            ValueError: for a sequence that does not fit in `max_model_len` with a token behind it.
            EngineError: when the server fails.
        """
        self._check_lengths([len(prompt_ids) + 1])
        ids = list(prompt_ids)
        body = {"model": self.model, "prompt": ids, "max_tokens": 1, "temperature": 0.0, "prompt_logprobs": 0}
        found = self.http.dig(self.http.call("POST", completions.PATH, json=body), "choices", 0, "prompt_logprobs")
        if len(found) != len(ids):
            raise self.http.wrong(f"sent {len(found)} log-probabilities for a prompt of {len(ids)} tokens")
        return [self.http.dig(at, str(token), "logprob") for token, at in zip(ids[1:], found[1:], strict=True)]

    def _check_lengths(self, lengths: Sequence[int]) -> None:
        longest = max(lengths, default=0)
        if longest > self.max_model_len:
            raise ValueError(
                f"A prompt and its completion may take {longest} tokens, and the vLLM server at {self.url} was started "
                f"for {self.max_model_len}: restart it with --max-model-len {longest} or more, or lower the cap on "
                "completion tokens."
            )

    def load_weights(self, folder: Path) -> None:
        """Put the weights of a checkpoint in place of the server's, and forget cached prefixes.

        Args:
            folder: which the server sees under the same path. It has to stay until the next one is loaded.

        Raises:
            ValueError: when the checkpoint is not complete. The server would not survive reading it.
            EngineError: when the server fails.
        """
        check_complete(folder)
        try:
            self.http.call("POST", "/pause", params={"mode": "wait"})
            self._rpc("reload_weights", weights_path=str(folder.resolve()))
            self._rpc("repack_heads")
            if not self.http.dig(self.http.call("POST", "/reset_prefix_cache"), "success"):
                raise self.http.wrong("could not forget its cached prefixes")
        except EngineError as error:
            with suppress(EngineError):
                self.http.call("POST", "/resume")
            raise EngineError(f"The weights in {folder} were not loaded. {error}") from error
        self.http.call("POST", "/resume")

    def check_model(self, config: PretrainedConfig, max_tokens_needed: int | None = None) -> None:
        """Make sure that the server can take the weights of a model, and samples as the trainer needs it.

        Args:
            config: of the model that is trained.
            max_tokens_needed: most tokens of a prompt and its completion, where that is known.

        Raises:
            ValueError: when it was not started by `concise-rl serve`, or holds a model of another shape.
        """
        start = f"Start one with `concise-rl serve {config.name_or_path or 'MODEL'}`."
        self._check_settings(start)
        ours, theirs = _shape_of(config), _shape_in(self._rpc("get_model_inspection")[0])
        for name in ours.keys() - theirs.keys():
            logger.warning("The vLLM server at %s does not say its model's %s: not compared.", self.url, name)
        if any(ours[name] != value for name, value in theirs.items()):
            raise ValueError(
                f"The vLLM server at {self.url} holds {self.model} ({_listed(theirs)}), and the model to train has "
                f"{_listed(ours)}. {start}"
            )
        self._check_lengths([max_tokens_needed or 0])

    def _check_settings(self, start: str) -> None:
        """See `check_model`: what the server was started with."""
        response = self.http.send("GET", "/server_info", params={"config_format": "json"})
        if response.status_code == httpx.codes.NOT_FOUND:
            raise ValueError(f"The vLLM server at {self.url} has no endpoints for loading weights. {start}")
        config = self.http.dig(self.http.read("/server_info", response), "vllm_config")
        mode = self.http.dig(config, "model_config", "logprobs_mode")
        if mode != "processed_logprobs":
            raise ValueError(
                f"The vLLM server at {self.url} gives {mode}, and the trainer needs processed_logprobs, those of the "
                f"distribution that is sampled. {start}"
            )
        if not self.http.dig(config, "parallel_config", "worker_extension_cls"):
            raise ValueError(f"The vLLM server at {self.url} runs without this project's worker extension. {start}")

    def _rpc(self, method: str, **arguments: str) -> list[Any]:
        """Call a method of each of the server's workers."""
        body = {"method": method, "kwargs": arguments}
        return self.http.dig(self.http.call("POST", "/collective_rpc", json=body), "results")


def generate_over(servers: Sequence[VllmServer], balance: Balance, asked: Asked) -> list[Completion]:
    """One completion for each request, from whichever server."""

    async def ask(server: VllmServer, client: httpx.AsyncClient, request: Request) -> Completion:
        return await server.complete(client, request, asked.sampling)

    if not asked.requests:
        return []
    return to_the_end(ask_all(servers, balance, asked.requests, ask, asked.progress, asked.landed))


def peek_over(servers: Sequence[VllmServer], balance: Balance, peeks: Sequence[Peek]) -> list[Peeked]:
    """What each look shows, by whichever server."""

    async def ask(server: VllmServer, client: httpx.AsyncClient, peek: Peek) -> dict[int, float]:
        return await server.next_logprobs(client, peek)

    async def ask_again(server: VllmServer, client: httpx.AsyncClient, peek: Peek) -> dict[int, float]:
        return await server.next_logprobs(client, peek, peek.token_ids)

    likeliest = to_the_end(ask_all(servers, balance, peeks, ask)) if peeks else []
    unseen = {i: unseen_ids(peek, likeliest[i]) for i, peek in enumerate(peeks)}
    again = {i: Peek(peeks[i].prompt_ids, ids) for i, ids in unseen.items() if ids}
    found = to_the_end(ask_all(servers, balance, list(again.values()), ask_again)) if again else []
    others = dict(zip(again, found, strict=True))
    return [peeked_of(peek, likeliest[i], others.get(i, {})) for i, peek in enumerate(peeks)]


def _shape_of(config: PretrainedConfig) -> dict[str, int]:
    text = config.get_text_config()
    return {name: getattr(text, name) for name in ("vocab_size", "hidden_size", "num_hidden_layers")}


def _shape_in(inspection: str) -> dict[str, int]:
    """The shape of a model, as far as vLLM's printed tree of its modules shows it. The name of its class is not always
    that of the configuration, so that it tells nothing."""
    vocabulary = re.search(r"org_vocab_size=(\d+)", inspection)
    width = re.search(r"embedding_dim=(\d+)", inspection)
    numbered = re.findall(r"^\s*\((\d[\d, -]*)\): ", inspection, re.MULTILINE)
    layers = [int(number) for numbers in numbered for number in re.findall(r"\d+", numbers)]
    found = {
        "vocab_size": vocabulary and int(vocabulary[1]),
        "hidden_size": width and int(width[1]),
        "num_hidden_layers": max(layers) + 1 if layers else None,
    }
    return {name: value for name, value in found.items() if value is not None}


def _listed(shape: dict[str, int]) -> str:
    return ", ".join(f"{name} {value}" for name, value in shape.items())
