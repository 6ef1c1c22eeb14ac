"""The engines that an evaluation samples with, and their end: one model's memory is free before the next is loaded."""

from collections.abc import Generator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Protocol

from transformers import PreTrainedTokenizerBase

from concise_rl.evaluate.spec import Measurement
from concise_rl.models.context import context_length
from concise_rl.models.eos import load_tokenizer
from concise_rl.models.resolve import resolve_model
from concise_rl.rollout.engine import Asked, Completion, Heard, Peek, Peeked, Request, Sampling, StreamingEngine
from concise_rl.rollout.engines.transformers import TransformersEngine, load_engine

START_LIMIT_S = 30.0
"""How long a server that does not answer is waited for: a person looks on, and has started it before."""
ROLLOUT_LIMIT_S = 3600.0
"""How long a server may go without ending any completion. Batches are large, and completions may be long."""


class EvalEngine(StreamingEngine, Protocol):
    """An engine that also says how it reads and writes tokens."""

    tokenizer: PreTrainedTokenizerBase
    eos_token_ids: list[int]


@contextmanager
def open_engine(model: str, measurement: Measurement, patience: float = START_LIMIT_S) -> Generator[EvalEngine]:
    """Load what samples `model`, and free it afterwards.

    Args:
        model: `tiny:base`, a folder or a hub id.
        measurement: names the engine.
        patience: seconds to wait for a server that is still starting.

    Raises:
        ValueError: when the model is not there, or vLLM is asked for and not installed.
        EngineError: when no server answers at the measurement's URL.
    """
    source: dict[str, Any] = {"revision": measurement.revision, "trust_remote_code": measurement.trust_remote_code}
    if measurement.engine == "transformers":
        with finding(model):
            loaded = load_engine(model, batch_size=measurement.batch_size, dtype=measurement.dtype, **source)
        yield loaded
    elif measurement.is_served:
        with finding(model):
            connected = ServedModel(measurement.urls, model, patience, **source)
        with closing(connected) as served:
            yield served
    else:
        with _open_vllm(model, measurement, source) as engine:
            yield engine


@contextmanager
def _open_vllm(model: str, measurement: Measurement, source: dict[str, Any]) -> Generator[EvalEngine]:
    """vLLM in this process, or in servers of its own. Its log-probabilities are the model's own, as is watched."""
    from concise_rl.rollout.engines import vllm
    from concise_rl.rollout.engines.fleet import started_servers
    from concise_rl.rollout.engines.vllm_requests import RAW

    if measurement.data_parallel == 1:
        cap, dtype = measurement.max_tokens, measurement.dtype
        with finding(model):
            started = vllm.load_vllm_engine(model, max_tokens=cap, dtype=dtype, logprobs_mode=RAW, **source)
        with closing(started) as engine:
            yield engine
        return
    with finding(model):
        length = vllm.model_length(model, measurement.max_tokens, **source)
    flags = ["--max-model-len", str(length), "--dtype", measurement.dtype or vllm.default_dtype()]
    flags += ["--logprobs-mode", RAW, *(["--revision", measurement.revision] if measurement.revision else [])]
    flags += ["--trust-remote-code"] if measurement.trust_remote_code else []
    with (
        started_servers(model, measurement.data_parallel, flags) as urls,
        closing(ServedModel(urls, model, **source)) as served,
    ):
        yield served


@contextmanager
def finding(model: str) -> Generator[None]:
    """
    Raises:
        ValueError: when transformers finds no such model. It has several lines to say of that; the first is enough.
    """
    try:
        yield
    except OSError as error:
        said = str(error).strip().partition("\n")[0]
        raise ValueError(f"{model} cannot be loaded: {said}") from error


def context_of(engine: EvalEngine) -> int | None:
    """Return the most tokens that a prompt and its completion may have; None where that is not known."""
    if isinstance(engine, TransformersEngine):
        return context_length(engine.model.config)
    if isinstance(engine, ServedModel):
        return engine.server.max_model_len
    return getattr(engine, "max_model_length", None)  # vLLM, which may not be installed


class ServedModel:
    """vLLM servers of one model, and its tokenizer."""

    def __init__(
        self,
        urls: Sequence[str],
        model: str,
        patience: float = START_LIMIT_S,
        *,
        revision: str | None = None,
        trust_remote_code: bool = False,
    ) -> None:
        """
        Args:
            urls: of the servers.
            model: the one that they serve: `tiny:base`, a folder or a hub id.
            patience: seconds to wait for a server that is still starting.
            revision: of the hub repository.
            trust_remote_code: whether code that comes with the tokenizer may run.

        Raises:
            ValueError: when one serves another.
            EngineError: when one does not answer.
        """
        from concise_rl.rollout.engines.server import VllmServer
        from concise_rl.rollout.engines.servers import Servers

        self.tokenizer, self.eos_token_ids = load_tokenizer(resolve_model(model), revision, trust_remote_code)
        size = len(self.tokenizer)
        self.server = Servers([VllmServer(url, self.eos_token_ids, patience, ROLLOUT_LIMIT_S, size) for url in urls])
        for one in self.server.servers:
            if one.model != model and Path(one.model).resolve() != Path(resolve_model(model)).resolve():
                self.close()
                raise ValueError(
                    f"The server at {one.url} holds {one.model!r}, not {model!r}: start one with `concise-rl serve "
                    f"{model}`. If they are the same, add `--served-model-name {model}` there."
                )

    def generate(self, asked: Asked) -> list[Completion]:
        """See `Engine.generate`."""
        return self.server.generate(asked)

    def stream(self, request: Request, sampling: Sampling, heard: Heard) -> Completion:
        """See `StreamingEngine.stream`."""
        return self.server.stream(request, sampling, heard)

    def peek(self, peeks: Sequence[Peek]) -> list[Peeked]:
        """See `PeekingEngine.peek`."""
        return self.server.peek(peeks)

    def close(self) -> None:
        """Let go of the connections; the servers stay."""
        self.server.close()
