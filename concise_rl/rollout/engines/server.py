"""vLLM in a server of its own, spoken to over HTTP. `concise-rl serve` starts one as it has to be.

Read at vLLM 0.31. Every way in which a server can fail becomes an `EngineError` that says so and what to do.
"""

import asyncio
import logging
import re
import resource
from collections.abc import Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
from transformers import PretrainedConfig

from concise_rl.errors import EngineError
from concise_rl.reading.trace import StopReason
from concise_rl.rollout.engine import Asked, Completion, Heard, Request, Sampling, stop_reason
from concise_rl.rollout.engines.http import Http
from concise_rl.rollout.sync.weights import check_complete

logger = logging.getLogger(__name__)

COMPLETIONS = "/v1/completions"


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
        self._http = Http(self.url, rollout_timeout)
        self._http.wait_until_healthy(start_timeout)
        card = self._http.dig(self._http.call("GET", "/v1/models"), "data", 0)
        self.model: str = self._http.dig(card, "id")
        self.max_model_len: int = self._http.dig(card, "max_model_len")

    def close(self) -> None:
        """Let go of the connection; the server stays."""
        self._http.client.close()

    def generate(self, asked: Asked) -> list[Completion]:
        """See `Engine.generate`. A request's draws depend on its own seed alone. `give_up` is not used: a server cannot
        be told to abort at an exact token, and what is sampled without it is right all the same.

        Raises:
            ValueError: when a prompt and its completion might not fit in `max_model_len`; nothing is sent then.
        """
        self._check_lengths([request.most_tokens for request in asked.requests])
        return _to_the_end(self._generate(asked)) if asked.requests else []

    def stream(self, request: Request, sampling: Sampling, heard: Heard) -> Completion:
        """See `StreamingEngine.stream`.

        Raises:
            ValueError: when a prompt and its completion might not fit in `max_model_len`; nothing is sent then.
            EngineError: when the server fails, or sends nothing for `rollout_timeout` seconds.
        """
        self._check_lengths([request.most_tokens])
        ids: list[int] = []
        last: dict[str, Any] = {}
        for event in self._http.events(COMPLETIONS, {**self._body(request, sampling), "stream": True}):
            for last in self._http.dig(event, "choices"):  # none in an event that tells of usage
                new = self._http.dig(last, "token_ids")
                ids += new
                if new:
                    heard(new)
        return self._completion({"choices": [{**last, "token_ids": ids}]}, request, sampling)

    async def _generate(self, asked: Asked) -> list[Completion]:
        """Send all requests at once. When one fails, or none ends for too long, the others are cancelled."""
        gate = asyncio.Semaphore(_most_connections())
        async with self._http.async_client() as client:
            answers = [self._complete(client, gate, request, asked.sampling) for request in asked.requests]
            tasks = [asyncio.create_task(answer) for answer in answers]
            try:
                for ended in asyncio.as_completed(tasks):
                    await asyncio.wait_for(ended, self.rollout_timeout)
                    if asked.progress:
                        asked.progress(1)
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
