"""Cards of the trained reasoners that ship: `python -m concise_rl.evaluate.tiny_cards REPORT` writes their numbers
beside them.

REPORT is the report.json of an evaluation of all of them against `tiny:base`; `launch/tiny_models.sh` makes it.
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from huggingface_hub import ModelCard, ModelCardData

from concise_rl.evaluate.release.numbers import Entry, Measured, as_markdown, model_index
from concise_rl.files import write_atomically
from concise_rl.methods.describe import summary
from concise_rl.tasks.tiny import TRAINED, WEIGHTS

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
    cls, measured = OBJECTIVES[method], Measured(name, "tiny:base", entry, report["baseline"], report)
    data = ModelCardData(
        license="apache-2.0",
        library_name="transformers",
        pipeline_tag="text-generation",
        tags=["concise-rl", "trl", method],
        model_name=name,
        eval_results=model_index(measured),
    )
    text = TEXT.format(name=name, method=method, summary=summary(cls), paper=cls.paper, measured=as_markdown(measured))
    return str(ModelCard(f"---\n{data.to_yaml()}\n---\n\n{text}"))


if __name__ == "__main__":
    write_cards(json.loads(Path(sys.argv[1]).read_text()))
