"""Write evaluations as logs of Inspect (https://inspect.aisi.org.uk, 0.3.285), by its own classes and writer."""

import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from concise_rl.evaluate.exchange.exports.run import DATE, ExportedRun
from concise_rl.evaluate.exchange.formats.inspect import NEEDED
from concise_rl.evaluate.exchange.log import OWN
from concise_rl.evaluate.samples import Sample
from concise_rl.evaluate.spec import as_label
from concise_rl.reading.trace import StopReason

SCORER = "correct"
STOPS = {StopReason.EOS.label: "stop", StopReason.LENGTH.label: "max_tokens"}
"""What Inspect has names for; the others are `unknown` there, and kept beside it by their own."""
LETTERS: Mapping[int | None, Any] = {1: "C", 0: "I", None: float("nan")}
"""Verdicts as Inspect writes them. NaN is its mark of a sample that nobody could score."""


def write(run: ExportedRun, out: Path) -> list[Path]:
    """Write a run as one `.eval` file.

    Returns:
        The file.

    Raises:
        ValueError: when inspect_ai is not installed.
    """
    if importlib.util.find_spec("inspect_ai") is None:
        raise ValueError(NEEDED)
    from inspect_ai.log import EvalLog, write_eval_log

    stamp = f"{DATE.replace(':', '-').replace('+', '-')}_{as_label(run.task).replace('_', '-')}"
    path = out / f"{stamp}_{run.name}.eval"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    log = EvalLog.model_validate(
        {
            "version": 2,
            "status": "success",
            "eval": _spec(run),
            "plan": {"name": "plan", "steps": []},
            "results": _results(run),
            "stats": {"started_at": DATE, "completed_at": DATE},
            "samples": [_sample(one, run) for one in run.samples],
        }
    )
    write_eval_log(log, str(path))
    return [path]


def _spec(run: ExportedRun) -> dict[str, Any]:
    return {
        "eval_id": run.identity,
        "run_id": run.identity,
        "task_id": run.identity,
        "created": DATE,
        "task": run.task,
        "dataset": {"name": run.task, "samples": run.problems, "sample_ids": _ids(run.samples)},
        "model": run.model,
        "config": {"epochs": run.epochs},
        "model_generate_config": run.settings,
        "packages": dict(run.versions),
        "scorers": [{"name": SCORER}],
        "metadata": {OWN: {"measurement": run.measurement}},
    }


def _ids(samples: Sequence[Sample]) -> list[str]:
    return list(dict.fromkeys(_id(sample) for sample in samples))


def _id(sample: Sample) -> str:
    return str(sample.problem) if sample.log_id is None else sample.log_id


def _results(run: ExportedRun) -> dict[str, Any]:
    metrics = {} if run.accuracy is None else {"accuracy": {"name": "accuracy", "value": run.accuracy}}
    total = len(run.samples)
    scores = [{"name": SCORER, "scorer": SCORER, "metrics": metrics}]
    return {"total_samples": total, "completed_samples": total, "scores": scores}


def _sample(sample: Sample, run: ExportedRun) -> dict[str, Any]:
    place = f"{run.identity}-{sample.problem}-{sample.sample}"  # tables of several logs drop what has one name twice
    answer = {"id": f"{place}-answer", "role": "assistant", "content": sample.text, "source": "generate"}
    usage = {"output_tokens": sample.length, "total_tokens": sample.length, "reasoning_tokens": sample.think_length}
    return {
        "id": _id(sample),
        "epoch": sample.sample + 1,
        "uuid": place,
        "input": sample.prompt,
        "target": sample.gold,
        "messages": [{"id": f"{place}-question", "role": "user", "content": sample.prompt, "source": "input"}, answer],
        "output": {
            "model": run.model,
            "choices": [{"message": answer, "stop_reason": STOPS.get(sample.stop_reason, "unknown")}],
            "usage": usage,
        },
        "scores": {SCORER: {"value": LETTERS[sample.correct], "answer": sample.answer}},
        "metadata": {OWN: {"stop_reason": sample.stop_reason, "difficulty": sample.difficulty, **sample.facts}},
        "model_usage": {run.model: usage},
    }
