"""An engine that stays open from one row or task to the next: a model is loaded once."""

from collections.abc import Generator
from contextlib import ExitStack, contextmanager

from concise_rl.evaluate.defaults import OF_BENCHMARK
from concise_rl.evaluate.engines import EvalEngine, OpenEngine
from concise_rl.evaluate.spec import Measurement

OF_TASK = {*OF_BENCHMARK, "task", "data_revision", "problems"}
"""Fields of a measurement that do not matter to the engine, beside its longest cap."""


class KeptOpen:
    """An engine that stays open as long as the same one serves.

    Attributes:
        load: opens an engine for a model under a measurement.
        max_tokens: the largest cap of all tasks.
    """

    def __init__(self, load: OpenEngine, max_tokens: int) -> None:
        self.load, self.max_tokens = load, max_tokens
        self._stack, self._opened = ExitStack(), None
        self._engine: EvalEngine | None = None

    @contextmanager
    def open(self, model: str, measurement: Measurement) -> Generator[EvalEngine]:
        """Give the engine for a model, which stays open afterwards. One for another model is closed before."""
        ignored = OF_TASK | ({"batch_size"} if measurement.draws_alone else set())
        wanted = (model, measurement.model_dump(exclude=ignored))
        if self._engine is None or self._opened != wanted:
            self.close()
            widest = measurement.model_copy(update={"max_tokens": self.max_tokens})
            self._engine, self._opened = self._stack.enter_context(self.load(model, widest)), wanted
        yield self._engine

    def close(self) -> None:
        """Free the model."""
        self._engine = self._opened = None
        self._stack.close()
