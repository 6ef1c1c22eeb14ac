"""Load what was released as a stranger does, in a process of its own, and hold it against the run's model.

`python -m concise_rl.evaluate.release.proof FOLDER ENGINE BASE` reads prompts (token ids, as JSON) from stdin and
writes the completions. BASE is where the base of adapters is on this machine.
"""

import importlib.util
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoTokenizer

from concise_rl.evaluate.release.source import Source
from concise_rl.evaluate.release.weights import load
from concise_rl.models.eos import eos_ids

TOKENS = 64
"""Greedy tokens that are compared for each prompt."""
_MARK = "COMPLETIONS "
_THIS = "concise_rl.evaluate.release.proof"
Ids = list[int]


def prompts_for(folder: Path, base: str, texts: Sequence[str]) -> list[Ids]:
    """Write questions as prompt tokens, by the model's own chat template where it has one."""
    tokenizer = _tokenizer(folder, base)
    if tokenizer.chat_template is None:
        return [tokenizer.encode(text) for text in texts]
    chats = [[{"role": "user", "content": text}] for text in texts]
    written = [tokenizer.apply_chat_template(chat, add_generation_prompt=True, tokenize=False) for chat in chats]
    return [tokenizer.encode(text, add_special_tokens=False) for text in written]


def _tokenizer(folder: Path, base: str) -> Any:
    """Load the tokenizer of a model; that of their base for adapters that come without one."""
    own = (folder / "tokenizer_config.json").is_file()
    return AutoTokenizer.from_pretrained(str(folder) if own else base)


def prove(source: Source, released: Path, texts: Sequence[str], dtype: str | None) -> dict[str, int]:
    """Compare greedy completions of the run's model with those of the released one, loaded afresh.

    Args:
        source: the run.
        released: what was made of it.
        texts: questions.
        dtype: that adapters were rounded to; the run's are rounded alike.

    Returns:
        For each library how many completions are equal: `transformers`, and `vllm` where it is installed and the
        folder holds a whole model.

    Raises:
        ValueError: when transformers completes any of them otherwise, or a library cannot load the folder.
    """
    base = source.base_folder if source.is_adapter else ""
    prompts = prompts_for(released, base, texts)
    wanted = _complete(source.folder, base, prompts, dtype)
    found = {engine: _equal(wanted, _elsewhere(released, engine, base, prompts)) for engine in _engines(released)}
    if found["transformers"] < len(texts):
        raise ValueError(
            f"Loaded afresh, {len(texts) - found['transformers']} of {len(texts)} greedy completions differ from those "
            f"of {source.folder}: nothing is released. Please report this with the model's name."
        )
    return found


def _engines(released: Path) -> list[str]:
    """Return the libraries that are asked. vLLM has no `from_pretrained` for adapters alone."""
    with_vllm = importlib.util.find_spec("vllm") and (released / "config.json").is_file()
    return ["transformers", "vllm"] if with_vllm else ["transformers"]


def _equal(wanted: Sequence[Ids], found: Sequence[Ids]) -> int:
    return sum(one == other for one, other in zip(wanted, found, strict=True))


def _elsewhere(folder: Path, engine: str, base: str, prompts: Sequence[Ids]) -> list[Ids]:
    """Complete prompts in another process."""
    command = [sys.executable, "-m", _THIS, str(folder), engine, base]
    done = subprocess.run(command, input=json.dumps(prompts), capture_output=True, text=True, check=False)
    lines = [line for line in done.stdout.splitlines() if line.startswith(_MARK)]
    if done.returncode or not lines:
        last = (done.stderr.strip().splitlines() or ["it says nothing"])[-1]
        raise ValueError(f"{engine} cannot load what would be released ({last}). Nothing is released.")
    return json.loads(lines[-1].removeprefix(_MARK))


def _greedy(model: Any, prompts: Sequence[Ids], ends: Sequence[int]) -> list[Ids]:
    """Complete each prompt by itself, as nobody's padding should matter, through the first token that ends it."""
    found = []
    for ids in prompts:
        ids_BT = torch.tensor([ids], device=model.device)
        out_BT = model.generate(
            ids_BT, attention_mask=torch.ones_like(ids_BT), do_sample=False, max_new_tokens=TOKENS, eos_token_id=[*ends]
        )
        found.append(out_BT[0, len(ids) :].tolist())
    return found


def _complete(folder: Path, base: str, prompts: Sequence[Ids], dtype: str | None = None) -> list[Ids]:
    """Complete with transformers. What ends a completion is read from the folder, or from the adapters' base."""
    model = load(folder, base, dtype)
    return _greedy(model, prompts, eos_ids(model, _tokenizer(folder, base)))


def _with_vllm(folder: Path, base: str, prompts: Sequence[Ids]) -> list[Ids]:
    from transformers import AutoConfig
    from vllm import SamplingParams

    from concise_rl.rollout.engines.vllm import start_llm

    # vLLM halves what is float32 unless told not to, and its own sampling settings are part of what is released.
    llm = start_llm(str(folder), dtype=str(AutoConfig.from_pretrained(folder).dtype).removeprefix("torch."))
    asked: list[Any] = [{"prompt_token_ids": ids} for ids in prompts]
    outputs = llm.generate(asked, SamplingParams(temperature=0.0, max_tokens=TOKENS), use_tqdm=False)
    return [list(output.outputs[0].token_ids) for output in outputs]


if __name__ == "__main__":
    complete = {"transformers": _complete, "vllm": _with_vllm}[sys.argv[2]]
    print(_MARK + json.dumps(complete(Path(sys.argv[1]), sys.argv[3], json.loads(sys.stdin.read()))))
