"""The engines that an evaluation samples with, and their end: one model's memory is free before the next is loaded."""

from collections.abc import Generator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Protocol

from transformers import AutoTokenizer, PreTrainedTokenizerBase

from concise_rl.evaluate.spec import Measurement
from concise_rl.rollout.engine import Completion, Engine, Progress, Request, Sampling
from concise_rl.rollout.shortest import ShortestOnly
from concise_rl.rollout.transformers_engine import eos_ids_of, load_engine
from concise_rl.tiny import resolve_model

ROLLOUT_LIMIT_S = 3600.0
"""How long a server may go without ending any completion. Batches are large, and completions may be long."""


class EvalEngine(Engine, Protocol):
    """An engine that also says how it reads and writes tokens."""

    tokenizer: PreTrainedTokenizerBase
    eos_token_ids: list[int]


@contextmanager
def open_engine(model: str, measurement: Measurement) -> Generator[EvalEngine]:
    """Load what samples `model`, and free it afterwards.

    Raises:
        ValueError: when the model is not there, or vLLM is asked for and not installed.
        EngineError: when no server answers at the measurement's URL.
    """
    if measurement.engine == "transformers":
        yield load_engine(model, batch_size=measurement.batch_size)
    elif measurement.engine == "vllm":
        from concise_rl.rollout.vllm_engine import load_vllm_engine

        with closing(load_vllm_engine(model, max_tokens=measurement.max_tokens)) as engine:
            yield engine
    else:
        with closing(ServedModel(measurement.engine, model)) as served:
            yield served


class ServedModel:
    """A vLLM server, and the tokenizer of the model that it serves."""

    def __init__(self, url: str, model: str) -> None:
        """
        Args:
            url: of the server.
            model: the one that it serves: `tiny:base`, a folder or a hub id.

        Raises:
            ValueError: when it serves another.
            EngineError: when no server answers.
        """
        from concise_rl.rollout.vllm_server import VllmServer

        self.tokenizer: Any = load_tokenizer(model)
        self.eos_token_ids = eos_ids_of(resolve_model(model), self.tokenizer)
        self.server = VllmServer(url, self.eos_token_ids, rollout_timeout=ROLLOUT_LIMIT_S)
        if self.server.model != model and Path(self.server.model).resolve() != Path(resolve_model(model)).resolve():
            self.close()
            raise ValueError(
                f"The server at {url} holds {self.server.model!r}, not {model!r}: start one with `concise-rl serve "
                f"{model}`. If they are the same, add `--served-model-name {model}` there."
            )

    def generate(
        self,
        requests: Sequence[Request],
        sampling: Sampling,
        progress: Progress | None = None,
        rule: ShortestOnly | None = None,
    ) -> list[Completion]:
        """See `Engine.generate`."""
        return self.server.generate(requests, sampling, progress, rule)

    def close(self) -> None:
        """Let go of the connections; the server stays."""
        self.server.close()


def load_tokenizer(model: str) -> PreTrainedTokenizerBase:
    """The tokenizer of `tiny:base`, a folder or a hub id."""
    tokenizer: Any = AutoTokenizer.from_pretrained(resolve_model(model, adapters=True))
    return tokenizer
