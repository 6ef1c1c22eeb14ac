"""Measure what a sweep has trained: all runs and the base model, on the same problems, by the same evaluation."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from concise_rl.data.rows import columns_read, to_messages
from concise_rl.data.sources import FILE_ENDINGS
from concise_rl.errors import in_a_line
from concise_rl.evaluate.defaults import TINY_CAP, batch_of, default_size, of_benchmark
from concise_rl.evaluate.rows import measured_rows
from concise_rl.evaluate.run import evaluate
from concise_rl.evaluate.spec import BASELINE, EvalSpec, Measurement, ModelRun, fingerprint
from concise_rl.labels.judges import DEFAULT_JUDGE
from concise_rl.models.eos import load_tokenizer
from concise_rl.models.policy import hub_settings
from concise_rl.recipe.fit.facts import find_facts
from concise_rl.recipe.parse import Recipe
from concise_rl.recipe.preflight import is_installed, local_folder
from concise_rl.sweep.plan import Run

GIVEN = (
    *("split", "problems", "samples", "max_tokens", "eval_temperature", "eval_top_p", "batch_size"),
    *("prompt_column", "answer_column"),
)
"""Options of the command that take the place of what is chosen here."""
LEARNT = ("prompt_template", "system_prompt")
"""What a recipe's model has learnt to be asked by, whatever a benchmark says."""


def measurement_of(runs: Sequence[Run], args: argparse.Namespace) -> Measurement:
    """Decide how the runs are measured: by the arguments, and by what the recipes say where these say nothing.

    Raises:
        ValueError: when no problems are named that the runs were not trained on, or a value is out of bounds.
    """
    recipe, training = runs[0].recipe, runs[0].recipe.training
    task = args.task or _test_task(runs[0])
    engine = args.engine or ("vllm" if any(_uses_vllm(run) for run in runs) else "transformers")
    hub, own_data = hub_settings(training), task == recipe.data.dataset
    chosen: dict[str, Any] = default_size(task) | {
        "max_tokens": _cap(runs, task),
        "think_end": training.think_end,
        "verifier": training.verifier,
        "judge": DEFAULT_JUDGE if training.think_end else None,
        "batch_size": batch_of(engine),
        "prompt_template": recipe.data.prompt_template,
        "system_prompt": recipe.data.system_prompt,
        "chat_template_kwargs": getattr(training, "chat_template_kwargs", None),
        "revision": None if hub["revision"] == "main" else hub["revision"],
        "trust_remote_code": hub["trust_remote_code"],
    }
    if found := of_benchmark(task):
        chosen |= {name: value for name, value in found.items() if name not in LEARNT}
    elif own_data:
        chosen |= {"prompt_column": recipe.data.prompt_column, "answer_column": recipe.data.answer_column}
    given = {name: value for name in GIVEN if (value := getattr(args, name)) is not None}
    chosen |= {name.removeprefix("eval_"): value for name, value in given.items()}
    return Measurement(**chosen, task=task, engine=engine)


def _test_task(run: Run) -> str:
    """Name the recipes' own data, of which the test split is measured.

    Raises:
        ValueError: when they are a file, which has no splits.
    """
    dataset = run.recipe.data.dataset
    if dataset.endswith(FILE_ENDINGS):
        raise ValueError(f"The recipes train on {dataset}, a file without a test split: name other problems, --task.")
    return dataset


def _uses_vllm(run: Run) -> bool:
    return bool(run.recipe.training.use_vllm)


def _cap(runs: Sequence[Run], task: str) -> int:
    """Find the largest cap that a recipe trains with; more for the embedded reasoner, as in its other evaluations."""
    trained = max(run.recipe.training.max_completion_length for run in runs)
    return max(trained, TINY_CAP) if task.startswith("tiny:") else trained


def check_measurement(measurement: Measurement, recipe: Recipe, elsewhere: bool = False) -> None:
    """Load the problems and see whether they fit the model's context, before anything is trained.

    Args:
        measurement: how the runs will be measured.
        recipe: whose model they start from.
        elsewhere: whether another machine measures.

    Raises:
        ValueError: when the problems are not there or not usable, or do not fit beside the cap; and for an engine that
            is not installed, or holds a single model.
    """
    if measurement.is_served:
        raise ValueError("--engine: a server holds one model, and a sweep measures several: transformers or vllm.")
    if measurement.engine == "vllm" and not elsewhere and not is_installed("vllm"):
        raise ValueError("--engine vllm is not installed here: bash launch/setup.sh vllm, or --engine transformers.")
    judges = [measurement.judge] if measurement.judge else []
    rows = measured_rows(measurement, columns_read(measurement.verifier, *judges))
    facts, folder = find_facts(recipe.model_name, measurement.revision), local_folder(recipe)
    if facts is None or folder is None:
        return
    tokenizer, _ = load_tokenizer(str(folder), None, measurement.trust_remote_code)
    turns: Any = to_messages(rows, measurement.prompt_template, measurement.system_prompt)["prompt"]
    template: Any = tokenizer.apply_chat_template
    more = measurement.chat_template_kwargs or {}
    longest = max(len(tokenizer.encode(template(turn, tokenize=False, **more))) for turn in turns)
    if longest + measurement.max_tokens > facts.context:
        raise ValueError(
            f"--max-tokens {measurement.max_tokens} does not fit beside the longest problem, {longest} tokens, in the "
            f"context of {recipe.model_name}, {facts.context}: lower it."
        )


def spec_of(runs: Sequence[Run], measurement: Measurement) -> EvalSpec:
    """Specify the evaluation of trained runs. A run's number is its seed, so that others may be added later."""
    base = runs[0].recipe.model_name
    models = tuple(
        ModelRun(label=run.label, run=run.seed, model=str(run.folder), fingerprint=fingerprint(str(run.folder)))
        for run in sorted(runs, key=lambda run: run.seed)
    )
    baseline = ModelRun(label=BASELINE, model=base, fingerprint=fingerprint(base))
    return EvalSpec(measurement=measurement, models=models, baseline=baseline)


def main(argv: list[str] | None = None) -> None:
    """Evaluate on a machine of a cluster: a file with the specification, and the folder for the samples."""
    file, folder = sys.argv[1:] if argv is None else argv
    try:
        evaluate(EvalSpec.model_validate_json(Path(file).read_bytes()), Path(folder))
    except ValidationError as error:
        sys.exit(f"error: {in_a_line(error)}")
    except ValueError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
