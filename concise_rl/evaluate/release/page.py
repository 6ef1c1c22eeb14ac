"""The model's page on the hub: origin, licence, how to use it, numbers, picture, and how it was made."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from huggingface_hub import ModelCard, ModelCardData

from concise_rl.evaluate.release.made import citations, method_section, objective_of, origin, training_section
from concise_rl.evaluate.release.numbers import Measured, as_markdown, model_index
from concise_rl.evaluate.release.source import Source
from concise_rl.evaluate.release.usage import usage
from concise_rl.evaluate.release.wanted import Wanted
from concise_rl.train.card import hub_data, method_name

FIGURE = "accuracy_against_tokens.png"
_PAPER = re.compile(r"https://(?:hf\.co/papers|arxiv\.org/abs)/(\d{4}\.\d{4,5})")


def page_text(
    source: Source, wanted: Wanted, measured: Sequence[Measured], *, licence: str, dtype: str, question: str
) -> str:
    """Write the model's README.md.

    Args:
        source: the run.
        wanted: the model's name, what is said about it, and whether adapters are released.
        measured: numbers, one for each report. Empty: the page says that nothing was measured.
        licence: its identifier on the hub, as `apache-2.0`.
        dtype: of the weights.
        question: one that the model was measured on, for the example.
    """
    short = wanted.name.rpartition("/")[2]
    about = f"{wanted.about}\n\n" if wanted.about else ""
    text = (
        f"# {short}\n\n{about}{origin(source, wanted.base_model, wanted.adapter_alone)}\n\n"
        f"## How to use it\n\n{usage(source, wanted, dtype, question)}\n\n"
        f"## Measured\n\n{_numbers(measured, wanted)}\n\n"
        f"{method_section(source)}{training_section(source)}{_files(bool(measured))}{citations(source)}\n"
    )
    data = _metadata(source, wanted, licence, text)
    if measured:
        data.model_name, data.eval_results = short, [one for m in measured for one in model_index(m)]
    return str(ModelCard(f"---\n{data.to_yaml()}\n---\n\n{text}"))


def _metadata(source: Source, wanted: Wanted, licence: str, text: str) -> ModelCardData:
    """Return what the hub reads of a model, without the numbers."""
    base, method = source.hub_base(wanted.base_model), objective_of(source)
    papers = dict.fromkeys(_PAPER.findall(text))
    relation = "adapter" if wanted.adapter_alone else "finetune"
    of_base: dict[str, Any] = {"base_model_relation": relation} if base else {}
    return ModelCardData(
        license=licence,
        base_model=base,
        datasets=hub_data(str(source.settings.get("dataset", ""))),
        library_name="peft" if wanted.adapter_alone else "transformers",
        pipeline_tag="text-generation",
        tags=["concise-rl", "trl", method_name(method) if method else source.stage, *(f"arxiv:{p}" for p in papers)],
        **of_base,
    )


def _numbers(measured: Sequence[Measured], wanted: Wanted) -> str:
    if not measured:
        return "Nothing was measured before this release."
    tables = [as_markdown(one) for one in measured]
    if len(measured) > 1:
        tables = [f"### {one.task}\n\n{table}" for one, table in zip(measured, tables, strict=True)]
    drawn = (wanted.reports[0] / "plots" / FIGURE).is_file()
    picture = [f"![Accuracy against tokens]({FIGURE})"] if drawn else []
    return "\n\n".join([tables[0], *picture, *tables[1:]])


def _files(has_numbers: bool) -> str:
    numbers = ", `report-*.json` the whole of what was measured" if has_numbers else ""
    return (
        "## To make it again\n\n`recipe.yaml` is the recipe (`concise-rl train recipe.yaml`), `constraints.txt` are "
        f"the versions of the packages{numbers}. `SHA256SUMS` has a hash of each file (`sha256sum -c SHA256SUMS`).\n\n"
    )


def demand_portable(out: Path) -> None:
    """Make sure that no text that is released names a folder of this machine.

    Raises:
        ValueError: for one that does.
    """
    own = [f"{folder}/" for folder in {Path.home(), Path.cwd()} if folder != Path("/")]
    for path in sorted(out.rglob("*")):
        if path.suffix in (".json", ".yaml", ".md", ".txt") and path.name != "tokenizer.json":
            text = path.read_text()
            if found := next((folder for folder in own if folder in text), None):
                raise ValueError(f"{path.name} would publish a path of this machine ({found}...): take it out first.")
