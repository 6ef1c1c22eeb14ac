"""vLLM in a server of its own, spoken to over HTTP. `concise-rl serve` starts one as it has to be.

Read at vLLM 0.31. Every way in which a server can fail becomes an `EngineError` that says so and what to do.
"""

import asyncio
import functools
import logging
import operator
import re
import resource
import time
from collections.abc import Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
from transformers import PretrainedConfig

from concise_rl.errors import EngineError
from concise_rl.rollout.engine import Completion, Progress, Request, Sampling, stop_reason
from concise_rl.rollout.shortest import ShortestOnly
from concise_rl.rollout.weights import check_complete
from concise_rl.trace import StopReason

logger = logging.getLogger(__name__)

COMPLETIONS = "/v1/completions"
CONNECT_TIMEOUT_S = 30.0
QUOTED = 300
"""Characters of a server's message that are quoted."""


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
    ) -> None:
        """
        Args:
            url: of the server, as `http://host:8000`.
            eos_token_ids: all ids that end a completion; the server's own idea of them is not used.
            start_timeout: seconds to wait for a server that is still starting.
            rollout_timeout: seconds in which at least one completion of a call must end, and any other answer come.

        Raises:
            ValueError: for what is no URL.
            EngineError: when no server answers in time.
        """
        self.url, self.eos_token_ids = url.rstrip("/"), list(eos_token_ids)
        self.rollout_timeout = rollout_timeout
        self._http = _Http(self.url, rollout_timeout)
        self._http.wait_until_healthy(start_timeout)
        card = self._http.dig(self._http.call("GET", "/v1/models"), "data", 0)
        self.model: str = self._http.dig(card, "id")
        self.max_model_len: int = self._http.dig(card, "max_model_len")

    def close(self) -> None:
        """Let go of the connection; the server stays."""
        self._http.client.close()

    def generate(
        self,
        requests: Sequence[Request],
        sampling: Sampling,
        progress: Progress | None = None,
        rule: ShortestOnly | None = None,
    ) -> list[Completion]:
        """See `Engine.generate`. A request's draws depend on its own seed alone. `rule` is not used: a server cannot be
        told to abort at an exact token, and what is sampled without the rule is right all the same.

        Raises:
            ValueError: when a prompt and its completion might not fit in `max_model_len`; nothing is sent then.
        """
        self._check_lengths([request.most_tokens for request in requests])
        return _to_the_end(self._generate(requests, sampling, progress)) if requests else []

    async def _generate(
        self, requests: Sequence[Request], sampling: Sampling, progress: Progress | None
    ) -> list[Completion]:
        """All requests at once. When one fails, or none ends for too long, the others are cancelled."""
        gate = asyncio.Semaphore(_most_connections())
        async with self._http.async_client() as client:
            tasks = [asyncio.create_task(self._complete(client, gate, request, sampling)) for request in requests]
            try:
                for ended in asyncio.as_completed(tasks):
                    await asyncio.wait_for(ended, self.rollout_timeout)
                    if progress:
                        progress(1)
            except TimeoutError:
                raise self._http.hangs("has not ended a completion") from None
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
        return [task.result() for task in tasks]

    async def _complete(
        self, client: httpx.AsyncClient, gate: asyncio.Semaphore, request: Request, sampling: Sampling
    ) -> Completion:
        async with gate:
            try:
                response = await client.post(COMPLETIONS, json=self._body(request, sampling))
            except httpx.HTTPError as error:
                raise self._http.lost(COMPLETIONS, error) from error
        return self._completion(self._http.read(COMPLETIONS, response), request, sampling)

    def _body(self, request: Request, sampling: Sampling) -> dict[str, Any]:
        """Everything that shapes the distribution is spelt out: vLLM fills gaps from the model's generation config."""
        return {
            "model": self.model,
            "prompt": list(request.prompt_ids),
            "max_tokens": request.max_tokens,
            "seed": request.seed,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "top_k": sampling.top_k,
            "min_p": sampling.min_p,
            "repetition_penalty": 1.0,
            "presence_penalty": 0.0,
            "frequency_penalty": 0.0,
            "ignore_eos": True,  # the server's own: ours are among the stop tokens
            "stop_token_ids": [*self.eos_token_ids, *sampling.stop_ids],
            "logprobs": 0 if sampling.logprobs else None,
            "return_token_ids": True,
        }

    def _completion(self, body: Any, request: Request, sampling: Sampling) -> Completion:
        """What the server says has come out for a request, checked."""
        choices = self._http.dig(body, "choices")
        if len(choices) != 1:
            raise self._http.wrong(f"sent {len(choices)} completions where one was asked for")
        ids = self._http.dig(choices, 0, "token_ids")
        if not ids:
            raise self._http.wrong("sent an empty completion")
        reason = stop_reason(ids, self.eos_token_ids, sampling.stop_ids)
        if len(ids) > request.max_tokens or (reason is StopReason.LENGTH and len(ids) < request.max_tokens):
            raise self._http.wrong(
                f"ended a completion after {len(ids)} of {request.max_tokens} tokens, and on no EOS (its reason: "
                f"{choices[0].get('finish_reason')!r})"
            )
        return Completion(ids, reason, self._logprobs(choices[0], len(ids)) if sampling.logprobs else None)

    def _logprobs(self, choice: dict[str, Any], length: int) -> list[float | None]:
        logprobs = self._http.dig(choice, "logprobs", "token_logprobs")
        if len(logprobs) != length:
            raise self._http.wrong(f"sent {len(logprobs)} log-probabilities for {length} tokens")
        return logprobs

    def score(self, prompt_ids: Sequence[int]) -> list[float]:
        """Log-probability of every token of a sequence but the first, at temperature 1.

        Raises:
            ValueError: for a sequence that does not fit in `max_model_len` with a token behind it.
            EngineError: when the server fails.
        """
        self._check_lengths([len(prompt_ids) + 1])
        ids = list(prompt_ids)
        body = {"model": self.model, "prompt": ids, "max_tokens": 1, "temperature": 0.0, "prompt_logprobs": 0}
        found = self._http.dig(self._http.call("POST", COMPLETIONS, json=body), "choices", 0, "prompt_logprobs")
        if len(found) != len(ids):
            raise self._http.wrong(f"sent {len(found)} log-probabilities for a prompt of {len(ids)} tokens")
        return [self._http.dig(at, str(token), "logprob") for token, at in zip(ids[1:], found[1:], strict=True)]

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
            self._http.call("POST", "/pause", params={"mode": "wait"})
            self._rpc("reload_weights", weights_path=str(folder.resolve()))
            self._rpc("repack_heads")
            if not self._http.dig(self._http.call("POST", "/reset_prefix_cache"), "success"):
                raise self._http.wrong("could not forget its cached prefixes")
        except EngineError as error:
            with suppress(EngineError):
                self._http.call("POST", "/resume")
            raise EngineError(f"The weights in {folder} were not loaded. {error}") from error
        self._http.call("POST", "/resume")

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
        response = self._http.send("GET", "/server_info", params={"config_format": "json"})
        if response.status_code == httpx.codes.NOT_FOUND:
            raise ValueError(f"The vLLM server at {self.url} has no endpoints for loading weights. {start}")
        config = self._http.dig(self._http.read("/server_info", response), "vllm_config")
        mode = self._http.dig(config, "model_config", "logprobs_mode")
        if mode != "processed_logprobs":
            raise ValueError(
                f"The vLLM server at {self.url} gives {mode}, and the trainer needs processed_logprobs, those of the "
                f"distribution that is sampled. {start}"
            )
        if not self._http.dig(config, "parallel_config", "worker_extension_cls"):
            raise ValueError(f"The vLLM server at {self.url} runs without this project's worker extension. {start}")

    def _rpc(self, method: str, **arguments: str) -> list[Any]:
        """Call a method of each of the server's workers."""
        body = {"method": method, "kwargs": arguments}
        return self._http.dig(self._http.call("POST", "/collective_rpc", json=body), "results")


class _Http:
    """HTTP to one server, and the sentences in which its failures are told."""

    def __init__(self, url: str, timeout: float) -> None:
        """
        Args:
            url: of the server.
            timeout: seconds to wait for an answer.

        Raises:
            ValueError: for what is no URL.
        """
        if not url.startswith(("http://", "https://")):
            raise ValueError(f"The URL of a vLLM server begins with http:// or https://, not {url!r}.")
        self.url, self.timeout = url, timeout
        # A proxy of the environment is for the world outside, not for a server in the same cluster.
        limits = httpx.Timeout(timeout, connect=CONNECT_TIMEOUT_S)
        self.client = httpx.Client(base_url=url, timeout=limits, trust_env=False)

    def async_client(self) -> httpx.AsyncClient:
        """A client that opens a connection for each request: one kept open may be closed by the server just when it is
        used again. Only the opening of a connection is tried again."""
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
        return httpx.AsyncClient(
            base_url=self.url,
            timeout=httpx.Timeout(None, connect=CONNECT_TIMEOUT_S),
            transport=httpx.AsyncHTTPTransport(limits=limits, retries=2, trust_env=False),
        )

    def wait_until_healthy(self, patience: float) -> None:
        """Wait for a server that is still starting, at most `patience` seconds.

        Raises:
            EngineError: when it does not answer in time.
        """
        deadline, told = time.monotonic() + patience, False
        while (problem := self._problem()) is not None:
            if time.monotonic() >= deadline:
                raise EngineError(
                    f"No vLLM server answers at {self.url} ({problem}; waited {patience:g} s): start one with "
                    "`concise-rl serve MODEL`, or correct the URL."
                )
            if not told:
                logger.warning("Waiting for the vLLM server at %s (%s), at most %g s.", self.url, problem, patience)
                told = True
            time.sleep(0.5)

    def _problem(self) -> str | None:
        """What keeps the server from serving now; None when it is up."""
        try:
            response = self.client.get("/health", timeout=5.0)
        except httpx.HTTPError as error:
            return _said(error)
        return None if response.status_code == httpx.codes.OK else f"HTTP {response.status_code}"

    def call(self, method: str, path: str, **arguments: Any) -> Any:
        """The answer to a request; None when it is empty."""
        return self.read(path, self.send(method, path, **arguments))

    def send(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        """The answer to a request, whatever it says."""
        try:
            return self.client.request(method, path, **arguments)
        except httpx.ReadTimeout:
            raise self.hangs(f"has not answered {path}") from None
        except httpx.HTTPError as error:
            raise self.lost(path, error) from error

    def read(self, path: str, response: httpx.Response) -> Any:
        """The content of an answer; None when it is empty."""
        if response.status_code != httpx.codes.OK:
            raise EngineError(
                f"The vLLM server at {self.url} answered {path} with HTTP {response.status_code}: {_message(response)} "
                "Its log says more."
            )
        try:
            return response.json() if response.content else None
        except ValueError as error:
            raise self.wrong(f"answered {path} with what is no JSON: {response.text[:QUOTED]!r}") from error

    def hangs(self, what: str) -> EngineError:
        """The error for an answer that does not come."""
        return EngineError(
            f"The vLLM server at {self.url} {what} for {self.timeout:g} s: it hangs (see its log), or it takes longer "
            "than that (raise rollout_timeout)."
        )

    def lost(self, path: str, error: httpx.HTTPError) -> EngineError:
        """The error for a connection that broke or could not be made."""
        return EngineError(
            f"The vLLM server at {self.url} is gone ({_said(error)}, at {path}): see its log, start it again with "
            "`concise-rl serve MODEL`, then give the same command again."
        )

    def wrong(self, what: str) -> EngineError:
        """The error for an answer that is not what was asked for."""
        return EngineError(
            f"The vLLM server at {self.url} {what}. Is it vLLM, started with `concise-rl serve MODEL`? See its log."
        )

    def dig(self, body: Any, *path: str | int) -> Any:
        """What stands in an answer at a path of keys."""
        try:
            found = functools.reduce(operator.getitem, path, body)
        except (KeyError, IndexError, TypeError):
            found = None
        if found is None:
            raise self.wrong(f"left {'.'.join(map(str, path))} out of an answer")
        return found


def _to_the_end(work: Coroutine[Any, Any, list[Completion]]) -> list[Completion]:
    """Run it, in a thread of its own where this one has an event loop already, as a notebook's has."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(lambda: asyncio.run(work)).result()


def _most_connections() -> int:
    """How many requests may be under way: each takes a file descriptor, and others are needed besides."""
    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 4096 if allowed == resource.RLIM_INFINITY else min(4096, allowed // 2)


def _said(error: httpx.HTTPError) -> str:
    """httpx has errors without a message."""
    return str(error) or type(error).__name__


def _message(response: httpx.Response) -> str:
    """The server's own words, as one sentence."""
    try:
        body = response.json()
    except ValueError:
        body = response.text
    if isinstance(body, dict):
        body = body.get("error") or body.get("detail") or body
    if isinstance(body, dict):
        body = body.get("message") or body
    return f"{' '.join(str(body).split())[:QUOTED].rstrip('.')}."


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
