"""The engines that an evaluation samples with, and their end: one model's memory is free before the next is loaded."""

from collections.abc import Generator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Protocol

from transformers import PreTrainedTokenizerBase

from concise_rl.evaluate.spec import Measurement
from concise_rl.models.context import context_length
from concise_rl.models.eos import load_tokenizer
from concise_rl.models.resolve import resolve_model
from concise_rl.rollout.engine import Asked, Completion, Heard, Request, Sampling, StreamingEngine
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
    source = {"revision": measurement.revision, "trust_remote_code": measurement.trust_remote_code}
    if measurement.engine == "transformers":
        with finding(model):
            loaded = load_engine(model, batch_size=measurement.batch_size, **source)
        yield loaded
    elif measurement.engine == "vllm":
        from concise_rl.rollout.engines.vllm import load_vllm_engine

        with finding(model):
            started = load_vllm_engine(model, max_tokens=measurement.max_tokens, **source)
        with closing(started) as engine:
            yield engine
    else:
        with finding(model):
            connected = ServedModel(measurement.engine, model, patience, **source)
        with closing(connected) as served:
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
    """A vLLM server, and the tokenizer of the model that it serves."""

    def __init__(
        self,
        url: str,
        model: str,
        patience: float = START_LIMIT_S,
        *,
        revision: str | None = None,
        trust_remote_code: bool = False,
    ) -> None:
        """
        Args:
            url: of the server.
            model: the one that it serves: `tiny:base`, a folder or a hub id.
            patience: seconds to wait for a server that is still starting.
            revision: of the hub repository.
            trust_remote_code: whether code that comes with the tokenizer may run.

        Raises:
            ValueError: when it serves another.
            EngineError: when no server answers.
        """
        from concise_rl.rollout.engines.server import VllmServer

        self.tokenizer, self.eos_token_ids = load_tokenizer(resolve_model(model), revision, trust_remote_code)
        self.server = VllmServer(url, self.eos_token_ids, patience, ROLLOUT_LIMIT_S)
        if self.server.model != model and Path(self.server.model).resolve() != Path(resolve_model(model)).resolve():
            self.close()
            raise ValueError(
                f"The server at {url} holds {self.server.model!r}, not {model!r}: start one with `concise-rl serve "
                f"{model}`. If they are the same, add `--served-model-name {model}` there."
            )

    def generate(self, asked: Asked) -> list[Completion]:
        """See `Engine.generate`."""
        return self.server.generate(asked)

    def stream(self, request: Request, sampling: Sampling, heard: Heard) -> Completion:
        """See `StreamingEngine.stream`."""
        return self.server.stream(request, sampling, heard)

    def close(self) -> None:
        """Let go of the connections; the server stays."""
        self.server.close()
