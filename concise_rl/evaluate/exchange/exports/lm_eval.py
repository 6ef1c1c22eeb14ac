"""Write evaluations as lm-evaluation-harness 0.4.13 logs them (https://github.com/EleutherAI/lm-evaluation-harness)."""

import hashlib
import json
import re
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from concise_rl.evaluate.exchange.exports.run import DATE, ExportedRun
from concise_rl.evaluate.exchange.formats.lm_eval import Own
from concise_rl.evaluate.exchange.log import OWN
from concise_rl.evaluate.samples import Sample
from concise_rl.files import write_atomically

METRIC, FILTER = "exact_match", "none"
FILE_DATE = DATE.partition("+")[0].replace(":", "-") + ".000000"


def write(run: ExportedRun, out: Path) -> list[Path]:
    """Write a run as `RUN/samples_TASK_DATE.jsonl`, a line for each problem, and `RUN/results_DATE.json`.

    lm-eval logs no tokens, and one score for all samples of a problem. Those of each sample are in a column of ours.

    Returns:
        The two files.
    """
    task = re.sub(r"\W", "_", run.task)
    samples, results = (
        out / run.name / f"samples_{task}_{FILE_DATE}.jsonl",
        out / run.name / f"results_{FILE_DATE}.json",
    )
    by_problem = groupby(run.samples, key=lambda sample: sample.problem)
    lines = [_line(number, list(own), run) for number, own in by_problem]
    write_atomically(samples, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
    write_atomically(results, json.dumps(_results(run, task), indent=2, ensure_ascii=False) + "\n")
    return [samples, results]


def _line(number: int, samples: Sequence[Sample], run: ExportedRun) -> dict[str, Any]:
    first, texts = samples[0], [sample.text for sample in samples]
    known = [sample.correct for sample in samples if sample.correct is not None]
    doc = {"problem": first.prompt, "answer": first.gold, "difficulty": first.difficulty, "log_id": first.log_id}
    return {
        "doc_id": number,
        "doc": doc,
        "target": first.gold,
        "arguments": {"gen_args_0": {"arg_0": first.prompt, "arg_1": _settings(run)}},
        "resps": [texts],
        "filtered_resps": texts if len(texts) == 1 else [texts],
        "filter": FILTER,
        "metrics": [METRIC],
        "doc_hash": _hash(json.dumps(doc)),
        "prompt_hash": _hash(first.prompt),
        "target_hash": _hash(first.gold),
        METRIC: sum(known) / len(known) if known else None,
        OWN: Own(
            tokens=[sample.length for sample in samples],
            think_tokens=[sample.think_length for sample in samples],
            stop_reasons=[sample.stop_reason for sample in samples],
            verdicts=[sample.correct for sample in samples],
        ).model_dump(),
    }


def _settings(run: ExportedRun) -> dict[str, Any]:
    """Return how samples were drawn, as lm-eval calls it. What is not known is left out."""
    settings = {"max_gen_toks" if name == "max_tokens" else name: value for name, value in run.settings.items()}
    drawn = {} if "temperature" not in settings else {"do_sample": settings["temperature"] > 0}
    return {"until": []} | drawn | settings


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()


def _results(run: ExportedRun, task: str) -> dict[str, Any]:
    return {
        "results": {task: {"alias": task, f"{METRIC},{FILTER}": run.accuracy}},
        "configs": {task: {"task": task, "repeats": run.epochs, "metadata": {OWN: run.measurement}}},
        "n-samples": {task: {"original": run.problems, "effective": run.problems}},
        "config": {"model": OWN, "model_args": run.model},
        "model_source": OWN,
        "model_name": run.model,
        "model_name_sanitized": re.sub(r"[\"<>:/|\\?*\[\]]+", "__", run.model),
    }
