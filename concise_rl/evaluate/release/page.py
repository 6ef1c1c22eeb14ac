"""The model's page on the hub: the run's own card, with licence, origin, numbers, picture and how to use it."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from huggingface_hub import ModelCard

from concise_rl.evaluate.release.numbers import Measured, as_markdown, model_index
from concise_rl.evaluate.release.source import Source

FIGURE = "accuracy_against_tokens.png"
_PAPER = re.compile(r"https://(?:hf\.co/papers|arxiv\.org/abs)/(\d{4}\.\d{4,5})")
_USE = """```python
from transformers import pipeline

answer = pipeline("text-generation", "{name}")
print(answer([{{"role": "user", "content": "{question}"}}], max_new_tokens={cap})[0]["generated_text"][-1]["content"])
```

With vLLM:

```python
from vllm import LLM, SamplingParams

model = LLM("{name}", dtype="{dtype}")
(output,) = model.chat([{{"role": "user", "content": "{question}"}}], SamplingParams(max_tokens={cap}))
print(output.outputs[0].text)
```"""
_USE_ADAPTER = """```python
from peft import AutoPeftModelForCausalLM
from transformers import AutoTokenizer, pipeline

model = AutoPeftModelForCausalLM.from_pretrained("{name}")
answer = pipeline("text-generation", model, tokenizer=AutoTokenizer.from_pretrained("{name}"))
print(answer([{{"role": "user", "content": "{question}"}}], max_new_tokens={cap})[0]["generated_text"][-1]["content"])
```

With vLLM: `vllm serve {base} --enable-lora --lora-modules {short}={name}`."""


def page_text(
    source: Source,
    *,
    name: str,
    licence: str,
    base_model: str | None,
    measured: Sequence[Measured],
    adapter_alone: bool,
    dtype: str,
    question: str,
) -> str:
    """Write the model's README.md.

    Args:
        source: the run; its own card says what was trained and how.
        name: the hub id that the model will have, or its folder's name.
        licence: its identifier on the hub, as `apache-2.0`.
        base_model: hub id of what was trained; None where it has none.
        measured: numbers, one for each report. Empty: the page says that nothing was measured.
        adapter_alone: whether adapters are released.
        dtype: of the weights.
        question: one that the model was measured on, for the example.
    """
    card = ModelCard.load(source.folder / "README.md")
    data: Any = card.data
    data.license = licence
    if base_model:
        data.base_model = base_model
        data.base_model_relation = "adapter" if adapter_alone else "finetune"
    data.library_name = "peft" if adapter_alone else "transformers"
    data.tags = [*(data.tags or []), *(f"arxiv:{paper}" for paper in _papers(card.text))]
    if measured:
        data.model_name, data.eval_results = name.rpartition("/")[2], [one for m in measured for one in model_index(m)]
    use = (_USE_ADAPTER if adapter_alone else _USE).format(
        name=name,
        short=name.rpartition("/")[2],
        base=base_model,
        dtype=dtype,
        question=question.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n"),
        cap=source.settings.get("max_completion_length", 512),
    )
    text = _with_section(card.text, "How to use it", f"{use}\n\n{_closing(source)}".rstrip())
    text = re.sub(r"^# .*$", f"# {name.rpartition('/')[2]}", text, count=1, flags=re.MULTILINE)
    text = _before_section(text, "Method", f"## Measured\n\n{_numbers(measured)}\n\n")
    text = _before_section(text, "Citations", _files(bool(measured)))
    return str(ModelCard(f"---\n{data.to_yaml()}\n---\n\n{text.strip()}\n"))


def _papers(text: str) -> list[str]:
    return list(dict.fromkeys(_PAPER.findall(text)))


def _closing(source: Source) -> str:
    closing = source.settings.get("think_end")
    return f"What stands before `{closing}` is its thinking; the answer follows." if closing else ""


def _numbers(measured: Sequence[Measured]) -> str:
    if not measured:
        return "Nothing was measured before this release."
    tables = "\n\n".join(as_markdown(one) for one in measured)
    picture = f"![Accuracy against tokens]({FIGURE})"
    return f"{tables}\n\n{picture}"


def _files(has_numbers: bool) -> str:
    numbers = ", `report-*.json` the whole of what was measured" if has_numbers else ""
    return (
        "## To make it again\n\n`recipe.yaml` is the recipe (`concise-rl train recipe.yaml`), `constraints.txt` are "
        f"the versions of the packages{numbers}. `SHA256SUMS` has a hash of each file (`sha256sum -c SHA256SUMS`).\n\n"
    )


def _with_section(text: str, title: str, content: str) -> str:
    """Replace what stands under a heading."""
    found = re.search(rf"^## {title}\n\n.*?(?=^## )", text, re.MULTILINE | re.DOTALL)
    assert found, f"the card of a run has a section {title!r}"
    return f"{text[: found.start()]}## {title}\n\n{content}\n\n{text[found.end() :]}"


def _before_section(text: str, title: str, content: str) -> str:
    """Put a section before another one."""
    return text.replace(f"## {title}\n", f"{content}## {title}\n", 1)


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
