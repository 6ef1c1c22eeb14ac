"""What a model's page says of measured numbers. All of them are read from a report, none is typed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml
from huggingface_hub import EvalResult, EvalResultEntry
from huggingface_hub import eval_result_entries_to_yaml as as_entries

from concise_rl.evaluate.text import between, percent, points, tokens

Entry = Mapping[str, Any]


@dataclass(frozen=True)
class Measured:
    """What a report says about one model.

    Attributes:
        name: of the model.
        base_name: of what it is compared with.
        entry: the report's entry about the model.
        base: that about the baseline; None without one.
        report: the whole of report.json.
    """

    name: str
    base_name: str
    entry: Entry
    base: Entry | None
    report: Entry

    @property
    def task(self) -> str:
        """Return what was measured on, as the page may show it."""
        return self.report["measurement"]["task"]


def model_index(measured: Measured) -> list[EvalResult]:
    """Write the numbers as the hub's `model-index` has them. Shares are between 0 and 1."""
    entry, split = measured.entry, measured.report["measurement"]["split"]
    numbers = [
        ("accuracy", "accuracy", entry["accuracy"], entry["accuracy_ci95"]),
        ("tokens", "mean tokens of a completion", entry["tokens"], entry["tokens_ci95"]),
        *_compared(measured),
    ]
    return [
        EvalResult(
            task_type="text-generation",
            dataset_type=measured.task,
            dataset_name=measured.task,
            dataset_split=split,
            metric_type=kind,
            metric_name=title,
            metric_value=round(value, 6),
            metric_args={"ci95": [round(bound, 6) for bound in interval]} if interval else None,
        )
        for kind, title, value, interval in numbers
        if value is not None
    ]


def _compared(measured: Measured) -> list[tuple[str, str, float | None, Sequence[float] | None]]:
    """Return what is said in comparison with the baseline; nothing without one."""
    savings, change = measured.entry["token_savings"], measured.entry["accuracy_change"]
    if savings is None:
        return []
    base = measured.base_name
    return [
        ("token_savings", f"share of the tokens of {base} that is saved", savings["value"], savings["ci95"]),
        ("accuracy_change", f"change of accuracy from {base}", change["value"], change["ci95"]),
    ]


def eval_results(measured: Measured, dataset: str) -> str:
    """Write the file that the hub reads from `.eval_results/`: https://huggingface.co/docs/hub/eval-results.

    Args:
        measured: the numbers.
        dataset: of the benchmark on the hub, `ORG/NAME` or `ORG/NAME:CONFIG`.

    Returns:
        YAML. The value is the accuracy in percent; the tokens stand in its notes, as the format has one value.
    """
    what = measured.report["measurement"]
    entry = EvalResultEntry(
        dataset_id=dataset.partition(":")[0],
        task_id=dataset.partition(":")[2] or "default",
        value=round(100 * measured.entry["accuracy"], 2),
        dataset_revision=what["data_revision"],
        notes=(
            f"mean of {what['samples']} samples a problem, at most {what['max_tokens']} tokens, temperature "
            f"{what['temperature']:g}; {tokens(measured.entry['tokens'])} tokens a sample; measured with concise_rl "
            f"{measured.report['versions'].get('concise_rl', '')}"
        ).rstrip(),
    )
    return yaml.safe_dump(as_entries([entry]), sort_keys=False, allow_unicode=True)


def as_markdown(measured: Measured) -> str:
    """Write a table of the model and its baseline, and what was measured."""
    entry, base = measured.entry, measured.base
    columns = [(measured.base_name, base), (measured.name, entry)] if base else [(measured.name, entry)]
    rows = [
        ("", *(f"`{name}`" for name, _ in columns)),
        ("---", *("---" for _ in columns)),
        ("accuracy", *(f"{percent(e['accuracy'])} {between(e['accuracy_ci95'])}" for _, e in columns)),
        ("tokens", *(f"{tokens(e['tokens'])} {between(e['tokens_ci95'], tokens)}" for _, e in columns)),
    ]
    if base:
        savings, change = entry["token_savings"], entry["accuracy_change"]
        rows += [
            ("tokens saved", "", f"{percent(savings['value'])} {between(savings['ci95'])}"),
            ("change of accuracy, points", "", f"{points(change['value'])} {between(change['ci95'], points)}"),
        ]
    what = measured.report["measurement"]
    return "\n".join(
        [
            *(f"| {' | '.join(row)} |" for row in rows),
            "",
            f"{measured.report['problems']} {what['split']} problems of `{measured.task}` x {what['samples']} samples "
            "of at most",
            f"{what['max_tokens']} tokens, at temperature {what['temperature']:g}.",
            "Brackets: 95 % intervals, bootstrap over problems, paired where models are compared.",
        ]
    )
