"""Cards of the trained reasoners that ship: `python -m concise_rl.evaluate.tiny_cards REPORT` writes their numbers
beside them.

REPORT is the report.json of an evaluation of all of them against `tiny:base`; `launch/tiny_models.sh` makes it.
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from concise_rl.evaluate.text import between, percent, points, tokens
from concise_rl.files import write_atomically
from concise_rl.methods.describe import summary
from concise_rl.tasks.tiny import TRAINED, WEIGHTS

Entry = Mapping[str, Any]
TEXT = """# {name}

A reasoner of 0.9M parameters that stops thinking as soon as it has enough. It works out sums and differences of 3 to 6
single digits. It is `tiny:base`, which checks its result up to five times, after training by `{method}`.

`{method}`: {summary} Paper: <{paper}>.

## How to use it

With concise_rl installed, `{name}` is its name wherever a model is named:

```
concise-rl eval --model {name} --baseline tiny:base --task tiny:sums
```

For `from_pretrained`, `concise_rl.models.resolve.resolve_model("{name}")` is its folder.

## How it was made

```
concise-rl train recipes/tiny/{method}.yaml
```

The base is `tiny:base`, the seed is 0, and the weights are float32, as trained. `bash launch/tiny_models.sh` makes it
again. It is released under the licence Apache-2.0.

## Measured

{measured}
"""


def write_cards(report: Mapping[str, Any]) -> None:
    """Write the README.md of each trained reasoner.

    Args:
        report: what report.json holds.

    Raises:
        ValueError: when the report lacks one of them, or the baseline is not `tiny:base`.
    """
    measured = {entry["seeds"][0]["model"]: entry for entry in report["methods"]}
    baseline = report["baseline"]
    if not baseline or baseline["seeds"][0]["model"] != "tiny:base":
        raise ValueError("These are the numbers of another evaluation: give one with --baseline tiny:base.")
    for name in TRAINED:
        if name not in measured:
            raise ValueError(f"The report says nothing about {name}: evaluate all of {', '.join(TRAINED)}.")
        write_atomically(WEIGHTS / name.removeprefix("tiny:") / "README.md", card_text(name, measured[name], report))


def card_text(name: str, entry: Entry, report: Mapping[str, Any]) -> str:
    """Write the card of one reasoner: metadata with its numbers for machines, then Markdown.

    Args:
        name: `tiny:` and the method.
        entry: what the report says about it.
        report: the whole report.
    """
    from reward import OBJECTIVES

    method = name.removeprefix("tiny:")
    cls = OBJECTIVES[method]
    data = ModelCardData(
        license="apache-2.0",
        library_name="transformers",
        pipeline_tag="text-generation",
        tags=["concise-rl", "trl", method],
        model_name=name,
        eval_results=_results(entry, report),
    )
    text = TEXT.format(
        name=name, method=method, summary=summary(cls), paper=cls.paper, measured=_measured(name, entry, report)
    )
    return str(ModelCard(f"---\n{data.to_yaml()}\n---\n\n{text}"))


def _results(entry: Entry, report: Mapping[str, Any]) -> list[EvalResult]:
    """Write the numbers as the hub's `model-index` has them. Shares are between 0 and 1."""
    task, savings, change = report["measurement"]["task"], entry["token_savings"], entry["accuracy_change"]
    numbers = [
        ("accuracy", "accuracy", entry["accuracy"], entry["accuracy_ci95"]),
        ("tokens", "mean tokens of a completion", entry["tokens"], entry["tokens_ci95"]),
        ("token_savings", "share of the tokens of tiny:base that is saved", savings["value"], savings["ci95"]),
        ("accuracy_change", "change of accuracy from tiny:base", change["value"], change["ci95"]),
    ]
    return [
        EvalResult(
            task_type="text-generation",
            dataset_type=task,
            dataset_name=task,
            dataset_split=report["measurement"]["split"],
            metric_type=kind,
            metric_name=title,
            metric_value=round(value, 6),
            metric_args={"ci95": [round(bound, 6) for bound in interval]},
        )
        for kind, title, value, interval in numbers
    ]


def _measured(name: str, entry: Entry, report: Mapping[str, Any]) -> str:
    """Write a table of it and the baseline, and what was measured."""
    base, savings, change = report["baseline"], entry["token_savings"], entry["accuracy_change"]
    rows = [
        ("", "`tiny:base`", f"`{name}`"),
        ("---", "---", "---"),
        ("accuracy", *(f"{percent(e['accuracy'])} {between(e['accuracy_ci95'])}" for e in (base, entry))),
        ("tokens", *(f"{tokens(e['tokens'])} {between(e['tokens_ci95'], tokens)}" for e in (base, entry))),
        ("tokens saved", "", f"{percent(savings['value'])} {between(savings['ci95'])}"),
        ("change of accuracy, points", "", f"{points(change['value'])} {between(change['ci95'], points)}"),
    ]
    what = report["measurement"]
    return "\n".join(
        [
            *(f"| {' | '.join(row)} |" for row in rows),
            "",
            f"{report['problems']} {what['split']} problems of `{what['task']}` x {what['samples']} samples of at most",
            f"{what['max_tokens']} tokens, at temperature {what['temperature']:g}.",
            "Brackets: 95 % intervals, bootstrap over problems, paired where models are compared.",
        ]
    )


if __name__ == "__main__":
    write_cards(json.loads(Path(sys.argv[1]).read_text()))
