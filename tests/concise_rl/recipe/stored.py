"""Files of stored samples of the embedded reasoner, for tests of what trains on them."""

import json
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer

from concise_rl.data.rows import load_rows, to_messages
from concise_rl.models.resolve import resolve_model
from concise_rl.reading.trace import hash_prompt


def stored_samples(problems: int = 4) -> list[dict[str, Any]]:
    """Of each problem a short right sample, a longer right one and a wrong one, as `concise-rl eval` stores them."""
    tokenizer: Any = AutoTokenizer.from_pretrained(resolve_model("tiny:base"))
    rows = load_rows("tiny:sums", num_rows=problems)
    samples = []
    for row, chat in zip(rows, to_messages(rows)["prompt"], strict=True):
        prompt = tokenizer.apply_chat_template(chat, add_generation_prompt=True, tokenize=False)
        prompt_hash = hash_prompt(tokenizer.encode(prompt, add_special_tokens=False))
        for thinking, answer, correct in (("", row["answer"], 1), ("1 + 1 = 2 ", row["answer"], 1), ("1 ", "99", 0)):
            text = f"{thinking}</think>{answer}"
            ids = [*tokenizer.encode(text, add_special_tokens=False), tokenizer.eos_token_id]
            told = {"prompt": row["prompt"], "gold": row["answer"], "prompt_hash": prompt_hash}
            told |= {"text": text, "completion_ids": ids}
            samples.append(told | {"length": len(ids), "finished": True, "correct": correct})
    return samples


def write_samples(path: Path, samples: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(sample) + "\n" for sample in samples))
    return path
