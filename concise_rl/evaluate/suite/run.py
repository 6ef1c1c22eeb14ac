"""Sampling of several tasks: all of them are checked before a model is loaded, and each model is loaded once."""

from collections.abc import Generator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from concise_rl.evaluate.defaults import OF_BENCHMARK
from concise_rl.evaluate.engines import EvalEngine, open_engine
from concise_rl.evaluate.run import OpenEngine, by_model, check_parts, prepare
from concise_rl.evaluate.spec import EvalSpec, Manifest, Measurement
from concise_rl.evaluate.suite.folder import check_models, check_place, clear_suite, list_tasks
from concise_rl.evaluate.training import record_trainings
from concise_rl.verify.pool import VerifierPool

OF_TASK = {*OF_BENCHMARK, "task", "data_revision", "problems"}
"""Fields of a measurement that do not matter to the engine, beside its longest cap."""


class KeptOpen:
    """An engine that stays open from task to task, as long as the same one serves.

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
        """Give the engine for a model, which stays open afterwards."""
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


def evaluate_suite(
    specs: Mapping[str, EvalSpec], out: Path, overwrite: bool = False, load: OpenEngine = open_engine
) -> dict[str, Manifest]:
    """Sample every model on every task into a folder for each; what an earlier call has written there is kept.

    Args:
        specs: what to evaluate, by the name of the task's folder. The models are the same in all.
        out: folder of the suite, made if need be.
        overwrite: delete the samples and reports of the suite in `out` first.
        load: opens the engine for a model's name under a measurement.

    Returns:
        What the folder of each task holds.

    Raises:
        ValueError: for a task of which `prepare` does, before any model is loaded; when a label stands for another
            model in `out`; and when a file there is corrupt.
    """
    runs = next(iter(specs.values())).runs
    assert all(spec.runs == runs for spec in specs.values()), "one command names the models of all tasks"
    check_place(out)
    for spec in specs.values():
        check_parts(spec)
    if overwrite:
        clear_suite(out)
    check_models(out, specs)
    with ExitStack() as stack:
        pools = {name: stack.enter_context(VerifierPool(name)) for name in sorted(_verifiers(specs))}
        tasks = {
            name: replace(prepare(spec, out / name, pools[spec.measurement.verifier], overwrite), name=name)
            for name, spec in specs.items()
        }
        list_tasks(out, specs)
        kept = KeptOpen(load, max(spec.measurement.max_tokens for spec in specs.values()))
        stack.callback(kept.close)
        for own in by_model(runs):
            for task in tasks.values():
                task.sample(own, kept.open)
            kept.close()
    for name, task in tasks.items():
        record_trainings(out / name, task.manifest)
    return {name: task.manifest for name, task in tasks.items()}


def _verifiers(specs: Mapping[str, EvalSpec]) -> set[str]:
    return {spec.measurement.verifier for spec in specs.values()}
